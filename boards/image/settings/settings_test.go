package settings_test

import (
	"strings"
	"testing"

	"github.com/fengsui/fengsui/boards/image/settings"
)

func TestParse(t *testing.T) {
	s, err := settings.Parse("f", []byte(`join: 7Q-abc
ethernet: {address: 10.20.0.7/24, gateway: 10.20.0.1, dns: [10.20.0.1, 114.114.114.114]}
wifi: {ssid: 石桥村, passphrase: "fengsui 12", country: CN}
cellular: {port: /dev/ttyUSB3, apn: cmnet, commands: ['+QCFG="usbnet",1']}
`))
	if err != nil {
		t.Fatal(err)
	}
	if s.Join != "7Q-abc" || s.Ethernet.Interface != "eth0" || s.WiFi.SSID != "石桥村" || s.WiFi.Country != "CN" || s.WiFi.Interface != "wlan0" || s.Cellular.Interface != "usb0" {
		t.Errorf("got %+v", s)
	}
	if s, err := settings.Parse("f", []byte("ethernet: {}\n")); err != nil || s.Ethernet.Address != "" || s.WiFi != nil {
		t.Errorf("by DHCP: %+v %v", s, err)
	}
}

func TestParseNamesWhatIsWrong(t *testing.T) {
	for text, want := range map[string]string{
		"joins: x":                                                         "joins",
		"join: a b":                                                        "join",
		"ethernet: {address: 10.0.0.7}":                                    "ethernet.address",
		"ethernet: {address: 'fe80::1/64'}":                                "ethernet.address",
		"ethernet: {gateway: 10.0.0.1}":                                    "ethernet.address",
		"ethernet: {interface: a/b}":                                       "ethernet.interface",
		"ethernet: {address: 10.0.0.7/24, gateway: 10.0.1.1}":              "ethernet.gateway",
		"ethernet: {address: 10.0.0.7/24, gateway: 10.0.0.7}":              "ethernet.gateway",
		"ethernet: {address: 10.0.0.7/24, dns: [a]}":                       "ethernet.dns.0",
		"wifi: {ssid: a}":                                                  "wifi.country",
		"wifi: {ssid: a, country: cn}":                                     "wifi.country",
		"wifi: {ssid: a, country: CHN}":                                    "wifi.country",
		"wifi: {ssid: a, country: CN, hidden: true}":                       "wifi.hidden",
		"wifi: {ssid: a, country: CN, interface: a/b}":                     "wifi.interface",
		"wifi: {passphrase: 12345678, country: CN}":                        "wifi.ssid",
		"wifi: {ssid: a, passphrase: '1234567', country: CN}":              "wifi.passphrase",
		"wifi: {ssid: a, passphrase: 烽燧烽燧, country: CN}":                   "wifi.passphrase",
		"wifi: {ssid: " + strings.Repeat("a", 33) + ", country: CN}":       "wifi.ssid",
		"cellular: {apn: a}":                                               "cellular.port",
		"cellular: {port: p}":                                              "cellular.apn",
		`cellular: {port: p, apn: 'a"b'}`:                                  "cellular.apn",
		"cellular: {port: p, apn: a, commands: [AT+CFUN=1]}":               "cellular.commands.0",
		"cellular: {port: p, apn: a, commands: [\"+CFUN=1\\rAT+CFUN=0\"]}": "cellular.commands.0",
	} {
		_, err := settings.Parse("f", []byte(text))
		if err == nil || !strings.Contains(err.Error(), `f:1: field "`+want+`"`) {
			t.Errorf("%s: %v, want a word about %s", text, err, want)
		}
	}
	_, err := settings.Parse("f", []byte("wifi: {ssid: a, passphrase: secret!}"))
	if err == nil || strings.Contains(err.Error(), "secret!") {
		t.Errorf("%v: a secret is no part of an error", err)
	}
}
