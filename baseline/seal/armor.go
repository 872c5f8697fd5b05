package seal

import (
	"bytes"
	"encoding/base64"
	"fmt"
)

// ArmorBegin and ArmorEnd frame an armored signature; the columns of its base64
// (PROTOCOL.sshsig §1; sshsig_armor and sshbuf_dtob64 of OpenSSH).
const (
	ArmorBegin   = "-----BEGIN SSH SIGNATURE-----\n"
	ArmorEnd     = "-----END SSH SIGNATURE-----\n"
	armorColumns = 70
)

// MaxArmor bounds an armored signature, in bytes. One with a certificate has
// about a thousand.
const MaxArmor = 64 << 10

// encodeArmor returns the one spelling of blob that ssh-keygen writes.
func encodeArmor(blob []byte) []byte {
	text := base64.StdEncoding.AppendEncode(nil, blob)
	out := make([]byte, 0, len(ArmorBegin)+len(text)+len(text)/armorColumns+1+len(ArmorEnd))
	out = append(out, ArmorBegin...)
	for len(text) > 0 {
		n := min(armorColumns, len(text))
		out = append(append(out, text[:n]...), '\n')
		text = text[n:]
	}
	return append(out, ArmorEnd...)
}

// decodeArmor returns the blob of an armored signature. Only what encodeArmor
// writes is accepted; errors wrap ErrArmor.
func decodeArmor(armor []byte) ([]byte, error) {
	if len(armor) > MaxArmor {
		return nil, fmt.Errorf("%w: longer than %d bytes", ErrArmor, MaxArmor)
	}
	body, ok := bytes.CutPrefix(armor, []byte(ArmorBegin))
	if !ok {
		return nil, fmt.Errorf("%w: does not begin with %q", ErrArmor, ArmorBegin)
	}
	if body, ok = bytes.CutSuffix(body, []byte(ArmorEnd)); !ok {
		return nil, fmt.Errorf("%w: does not end with %q", ErrArmor, ArmorEnd)
	}
	blob, err := base64.StdEncoding.Strict().AppendDecode(nil, body)
	if err != nil {
		return nil, fmt.Errorf("%w: not base64", ErrArmor)
	}
	// The decoder passes over line ends wherever they are; this does not.
	if !bytes.Equal(encodeArmor(blob), armor) {
		return nil, fmt.Errorf("%w: other lines than ssh-keygen writes", ErrArmor)
	}
	return blob, nil
}
