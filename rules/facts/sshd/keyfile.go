package sshd

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/asn1"
	"encoding/base64"
	"encoding/binary"
	"encoding/pem"
	"errors"
	"math/big"
	"strings"
)

// key is what can be told of a key file without its secret.
type key struct {
	kind        string // rsa, dsa, ecdsa, ed25519, or the name that the file gives
	bits        int
	encrypted   bool
	fingerprint string // SHA256:…, "" where the file shows no public part
}

var errKey = errors.New("not a key that is known here")

// parsePrivate reads a private key file: OpenSSH's own format, which shows the
// public part, or PEM. bits is 0 where a passphrase hides it.
func parsePrivate(data []byte) (key, error) {
	block, _ := pem.Decode(data)
	if block == nil {
		return key{}, errKey
	}
	if block.Headers["DEK-Info"] != "" || block.Type == "ENCRYPTED PRIVATE KEY" {
		return key{kind: kindOfPEM(block.Type), encrypted: true}, nil
	}
	switch block.Type {
	case "OPENSSH PRIVATE KEY":
		return parseOpenSSH(block.Bytes)
	case "RSA PRIVATE KEY", "DSA PRIVATE KEY":
		var numbers []*big.Int // version, then the modulus of one, the prime of the other
		if _, err := asn1.Unmarshal(block.Bytes, &numbers); err != nil || len(numbers) < 5 {
			return key{}, errKey
		}
		return key{kind: kindOfPEM(block.Type), bits: numbers[1].BitLen()}, nil
	case "EC PRIVATE KEY":
		k, err := x509.ParseECPrivateKey(block.Bytes)
		if err != nil {
			return key{}, errKey
		}
		return key{kind: "ecdsa", bits: k.Curve.Params().BitSize}, nil
	case "PRIVATE KEY":
		return parsePKCS8(block.Bytes)
	}
	return key{}, errKey
}

func kindOfPEM(t string) string {
	switch t {
	case "RSA PRIVATE KEY":
		return "rsa"
	case "DSA PRIVATE KEY":
		return "dsa"
	case "EC PRIVATE KEY":
		return "ecdsa"
	}
	return ""
}

func parsePKCS8(der []byte) (key, error) {
	k, err := x509.ParsePKCS8PrivateKey(der)
	if err != nil {
		return key{}, errKey
	}
	switch k := k.(type) {
	case *rsa.PrivateKey:
		return key{kind: "rsa", bits: k.N.BitLen()}, nil
	case *ecdsa.PrivateKey:
		return key{kind: "ecdsa", bits: k.Curve.Params().BitSize}, nil
	case ed25519.PrivateKey:
		return key{kind: "ed25519", bits: 256}, nil
	}
	return key{}, errKey
}

// parseOpenSSH reads "openssh-key-v1": cipher, KDF, its options, a count, the
// public key, and then what is secret and not looked at.
func parseOpenSSH(b []byte) (key, error) {
	b, ok := bytes.CutPrefix(b, []byte("openssh-key-v1\x00"))
	if !ok {
		return key{}, errKey
	}
	cipher, b, ok1 := field(b)
	_, b, ok2 := field(b)
	_, b, ok3 := field(b)
	if !ok1 || !ok2 || !ok3 || len(b) < 4 || binary.BigEndian.Uint32(b) != 1 {
		return key{}, errKey
	}
	blob, _, ok := field(b[4:])
	if !ok {
		return key{}, errKey
	}
	k, err := parseBlob(blob)
	k.encrypted = string(cipher) != "none"
	return k, err
}

// parsePublic reads a line of a .pub file: type, base64, comment.
func parsePublic(data []byte) (key, error) {
	for l := range bytes.Lines(data) {
		f := bytes.Fields(l)
		if len(f) == 0 || f[0][0] == '#' {
			continue
		}
		if len(f) < 2 {
			return key{}, errKey
		}
		blob, err := base64.StdEncoding.DecodeString(string(f[1]))
		if err != nil {
			return key{}, errKey
		}
		if name, _, ok := field(blob); !ok || !bytes.Equal(name, f[0]) {
			return key{}, errKey
		}
		return parseBlob(blob)
	}
	return key{}, errKey
}

// field takes a string of RFC 4251 off.
func field(b []byte) (s, rest []byte, ok bool) {
	if len(b) < 4 {
		return nil, nil, false
	}
	n := binary.BigEndian.Uint32(b)
	if uint64(n) > uint64(len(b)-4) {
		return nil, nil, false
	}
	return b[4 : 4+n], b[4+n:], true
}

// parseBlob reads a public key of RFC 4253, 5656 and 8709.
func parseBlob(blob []byte) (key, error) {
	sum := sha256.Sum256(blob)
	k := key{fingerprint: "SHA256:" + base64.RawStdEncoding.EncodeToString(sum[:])}
	name, rest, ok := field(blob)
	first, rest, ok1 := field(rest)
	if !ok || !ok1 {
		return key{}, errKey
	}
	switch s := string(name); {
	case s == "ssh-rsa":
		n, _, ok := field(rest)
		if !ok {
			return key{}, errKey
		}
		k.kind, k.bits = "rsa", new(big.Int).SetBytes(n).BitLen()
	case s == "ssh-dss":
		k.kind, k.bits = "dsa", new(big.Int).SetBytes(first).BitLen()
	case s == "ssh-ed25519":
		k.kind, k.bits = "ed25519", 256
	case strings.HasPrefix(s, "ecdsa-sha2-"):
		k.kind, k.bits = "ecdsa", map[string]int{"nistp256": 256, "nistp384": 384, "nistp521": 521}[string(first)]
	default:
		if len(s) > 64 {
			return key{}, errKey
		}
		k.kind = s
	}
	return k, nil
}
