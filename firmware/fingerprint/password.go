package fingerprint

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
)

// A Secret is a password of the device's own making, which keeps others from
// using its sensor, and tells its sensor from another one. It is no proof: a
// fake on the line can agree to any password.
type Secret struct {
	Password uint32
	Given    bool         // the sensor has taken it
	Taken    func() error // makes Given durable; called before the sensor is used
}

// SetPassword sets the sensor's password, which it keeps without power.
func (s *Sensor) SetPassword(ctx context.Context, password uint32) error {
	if _, err := s.do(ctx, OpSetPwd, binary.BigEndian.AppendUint32(nil, password)...); err != nil {
		return err
	}
	s.password = password
	return s.VerifyPassword(ctx)
}

// unlock connects with the device's own password, and gives it to a sensor
// that still has the password of the configuration. A cut in between is no
// loss: the secret was durable before, and whichever of the two the sensor has
// then, it is found. The error wraps ErrPassword when it has neither, and
// ErrForeign when it has lost ours.
func (s *Sensor) unlock(ctx context.Context, opt Options) (Parameters, error) {
	own := opt.Secret
	if own == nil {
		return s.Connect(ctx)
	}
	s.password = own.Password
	p, err := s.Connect(ctx)
	if errors.Is(err, ErrPassword) {
		s.password = opt.Password
		p, err = s.Connect(ctx)
		switch {
		case errors.Is(err, ErrPassword):
			return p, fmt.Errorf("%w: neither the device's own nor that of the configuration", err)
		case err == nil && own.Given:
			return p, &Error{OpVfyPwd, ErrForeign}
		}
	}
	if err != nil || own.Given {
		return p, err
	}
	if err := s.SetPassword(ctx, own.Password); err != nil {
		var refused Code
		if !errors.As(err, &refused) {
			return p, err
		}
		// A sensor that knows no passwords goes on without.
		opt.Log.Warn("fingerprint reader: the sensor takes no password", "err", err)
		s.password = opt.Password
		return p, s.VerifyPassword(ctx)
	}
	if own.Taken != nil {
		if err := own.Taken(); err != nil {
			return p, fmt.Errorf("fingerprint: the sensor's password: %w", err)
		}
	}
	own.Given = true
	opt.Log.Info("fingerprint reader: the sensor has this device's password now")
	return p, nil
}
