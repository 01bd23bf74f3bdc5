package bridge

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"strconv"

	"github.com/fengsui/fengsui/boards/strictyaml"
	"github.com/fengsui/fengsui/cloud-bridge/store"
	"github.com/fengsui/fengsui/firmware/wire"
)

// A register is the file of serve --devices.
type register struct {
	Devices []entry `yaml:"devices" required:"true"`
}

type entry struct {
	ID   string    `yaml:"id" required:"true"`
	Kind string    `yaml:"kind" required:"true" oneof:"alarm-box|patrol-car|patrol-motorcycle"`
	Key  publicKey `yaml:"key" required:"true" want:"the device's public key, 64 hexadecimal digits"`
	Name string    `yaml:"name" max:"64" want:"a name of at most 64 bytes"`
	Lat  *float64  `yaml:"lat" min:"-90" max:"90"`
	Lon  *float64  `yaml:"lon" min:"-180" max:"180"`
}

type publicKey []byte

// UnmarshalText parses 64 hexadecimal digits.
func (k *publicKey) UnmarshalText(b []byte) error {
	raw, err := hex.DecodeString(string(b))
	if err != nil || len(raw) != 32 {
		return errors.New("64 hexadecimal digits")
	}
	*k = raw
	return nil
}

// Validate checks what concerns several fields.
func (g *register) Validate(r *strictyaml.Report) {
	seen := make(map[string]bool)
	for i, e := range g.Devices {
		at := "devices." + strconv.Itoa(i)
		if wire.ValidDevice(e.ID) != nil {
			r.Add(at+".id", e.ID, "1 to 32 of a-z, 0-9 and '-', not beginning with '-'")
		}
		if seen[e.ID] {
			r.Add(at+".id", e.ID, "each device once")
		}
		seen[e.ID] = true
		if (e.Lat == nil) != (e.Lon == nil) {
			r.Add(at, e.ID, "lat and lon together")
		}
	}
}

func registerFile(ctx context.Context, st *store.Store, path string) error {
	b, err := os.ReadFile(path)
	if err != nil {
		return fmt.Errorf("register: %w", err)
	}
	var g register
	if err := strictyaml.Decode(path, b, &g); err != nil {
		return err
	}
	var rs []store.Registration
	for _, e := range g.Devices {
		r := store.Registration{ID: e.ID, Kind: store.DeviceKind(e.Kind), Name: e.Name, Key: []byte(e.Key)}
		if e.Lat != nil {
			r.At = &store.Point{Lat: *e.Lat, Lon: *e.Lon}
		}
		rs = append(rs, r)
	}
	return st.Register(ctx, rs...)
}
