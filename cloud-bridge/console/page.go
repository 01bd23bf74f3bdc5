package console

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"html/template"
	"io/fs"
	"net/http"
	"net/url"
	"path"
	"strings"
	"time"

	"github.com/fengsui/fengsui/cloud-bridge/account"
	"github.com/fengsui/fengsui/cloud-bridge/incident"
)

//go:embed page.html
var pageSource string

// All pages share their head, and those beside the desk their bar.
var (
	//go:embed head.html
	headSource string
	//go:embed bar.html
	barSource string
	//go:embed duty.html
	dutySource string
	//go:embed stats.html
	statsSource string
)

//go:embed static
var staticFiles embed.FS

// distFiles holds what `npm run build` in web copied; from a fresh clone only .gitkeep.
//
//go:embed all:dist
var distFiles embed.FS

// asset is one embedded file, ready to be sent.
type asset struct {
	body, gzipped []byte
	contentType   string
}

// assets are the page's files by path below the root that names their content.
type assets struct {
	root  string // "/assets/<hash of all>"
	files map[string]asset
	built bool // MapLibre is there
}

// loadAssets reads the embedded files. Their root carries a hash of all of them, so that
// a browser may keep each for ever and still never mix two versions.
func loadAssets() (*assets, error) {
	a := &assets{files: make(map[string]asset)}
	sum := sha256.New()
	for _, tree := range []fs.FS{staticFiles, distFiles} {
		err := fs.WalkDir(tree, ".", func(name string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() || strings.HasPrefix(d.Name(), ".") {
				return err
			}
			body, err := fs.ReadFile(tree, name)
			if err != nil {
				return err
			}
			fmt.Fprintf(sum, "%s %d\n", name, len(body))
			sum.Write(body)
			packed, err := pack(body)
			if err != nil {
				return err
			}
			a.files[name] = asset{body: body, gzipped: packed, contentType: typeOf(name)}
			return nil
		})
		if err != nil {
			return nil, fmt.Errorf("read the page's files: %w", err)
		}
	}
	a.root = "/assets/" + hex.EncodeToString(sum.Sum(nil)[:8])
	_, a.built = a.files["dist/maplibre/maplibre-gl.mjs"]
	return a, nil
}

// typeOf does not ask the machine's own tables, which differ.
func typeOf(name string) string {
	switch path.Ext(name) {
	case ".js", ".mjs":
		return "text/javascript; charset=utf-8"
	case ".css":
		return "text/css; charset=utf-8"
	case ".svg":
		return "image/svg+xml"
	default:
		return "text/plain; charset=utf-8"
	}
}

func pack(body []byte) ([]byte, error) {
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	if _, err := z.Write(body); err != nil {
		return nil, err
	}
	if err := z.Close(); err != nil {
		return nil, err
	}
	return b.Bytes(), nil
}

func (c *Console) serveAsset(w http.ResponseWriter, r *http.Request) {
	file, ok := c.assets.files[r.PathValue("path")]
	if !ok || "/assets/"+r.PathValue("hash") != c.assets.root {
		writeProblem(w, problemf(http.StatusNotFound, "no file %q here; the page may have been updated: load it again", shorten(r.URL.Path)))
		return
	}
	header := w.Header()
	header.Set("Content-Type", file.contentType)
	header.Set("Cache-Control", "public, max-age=31536000, immutable")
	header.Set("Vary", "Accept-Encoding")
	body := file.body
	if acceptsGzip(r) && len(file.gzipped) < len(body) {
		header.Set("Content-Encoding", "gzip")
		body = file.gzipped
	}
	http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(body))
}

// acceptsGzip takes a coding with any weight but 0 (RFC 9110, section 12.5.3).
func acceptsGzip(r *http.Request) bool {
	for part := range strings.SplitSeq(r.Header.Get("Accept-Encoding"), ",") {
		coding, weight, _ := strings.Cut(part, ";")
		if strings.TrimSpace(coding) == "gzip" {
			return strings.Trim(strings.TrimSpace(weight), "0.") != "q="
		}
	}
	return false
}

// boot is what the page's script starts from.
type boot struct {
	Lang     string    `json:"lang"`
	Messages catalogue `json:"messages"`
	Assets   string    `json:"assets"`
	MapBuilt bool      `json:"map_built"`
	MapStyle string    `json:"map_style"`
	Version  string    `json:"version"`
	Time     Time      `json:"time"`
	Me       *Me       `json:"me"`
	Zone     string    `json:"zone"` // the district's
}

type pageData struct {
	Lang, Assets string
	MapBuilt     bool
	Boot         template.JS
	Codes        []incident.Code
	Languages    []pageLanguage
	Me           *Me
	Page         string         // "desk", "duty", "stats" or "account"
	Roles        []account.Role // that an account can have
	Admin        bool           // may change all accounts
}

type pageLanguage struct {
	Tag, Name string
	Current   bool
}

// loadPages parses the page, with what all pages share, once for each language, so that
// its text is looked up in that language's messages.
func loadPages(catalogues map[string]catalogue, source string) (map[string]*template.Template, error) {
	pages := make(map[string]*template.Template, len(catalogues))
	for lang, messages := range catalogues {
		page, err := template.New("page").Funcs(template.FuncMap{"t": messages.text}).Parse(headSource + barSource + source)
		if err != nil {
			return nil, fmt.Errorf("parse the page: %w", err)
		}
		pages[lang] = page
	}
	return pages, nil
}

func (c *Console) servePage(w http.ResponseWriter, r *http.Request) { c.serveOf(w, r, "desk", c.pages) }

// serveOf answers with a page in the reader's language.
func (c *Console) serveOf(w http.ResponseWriter, r *http.Request, name string, pages map[string]*template.Template) {
	actor := actorOf(r.Context())
	me := viewMe(actor)
	lang, list := c.language(w, r)
	// encoding/json escapes <, > and &, so the block cannot end early.
	start, err := json.Marshal(boot{
		Lang: lang, Messages: c.catalogues[lang], Assets: c.assets.root, Me: me, Zone: c.options.Zone.String(),
		MapBuilt: c.assets.built, MapStyle: c.options.MapStyle, Version: c.options.Version, Time: Time{time.Now()},
	})
	if err != nil {
		c.internal(w, r, err)
		return
	}
	data := pageData{
		Lang: lang, Assets: c.assets.root, MapBuilt: c.assets.built, Boot: template.JS(start), Codes: incident.Codes(), Languages: list, Me: me, Page: name,
		Roles: account.Roles(), Admin: actor.Role == account.Admin && actor.Scope.Whole(),
	}
	c.show(w, r, pages[lang], lang, http.StatusOK, data)
}

// contentPolicy is the page's content security policy (CSP level 3): our own files and
// nothing inline. A map style from elsewhere adds its origin for data and images; its
// sprites and tiles must come from that origin too.
func contentPolicy(mapStyle string) (string, error) {
	origin, images := "", "'self' data:"
	if mapStyle != "" {
		u, err := url.Parse(mapStyle)
		if err != nil || (u.Scheme != "http" && u.Scheme != "https") || u.Host == "" || strings.ContainsAny(u.Host, "; ,'\"") {
			return "", fmt.Errorf("map style %q: want the http or https URL of a MapLibre style", mapStyle)
		}
		origin = " " + u.Scheme + "://" + u.Host
		images += " blob:" + origin
	}
	return strings.Join([]string{
		"default-src 'none'",
		"script-src 'self'",
		"worker-src 'self'",
		"style-src 'self'",
		"img-src " + images,
		"connect-src 'self'" + origin,
		"base-uri 'none'",
		"form-action 'self'",
		"frame-ancestors 'none'",
	}, "; "), nil
}
