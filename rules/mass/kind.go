package mass

import (
	"bytes"
	"strings"

	"intact/scanner/entry"
)

// Kind is what the name of a file promises of its content. The zero value
// promises nothing.
type Kind struct {
	Label string // for people: the extension in lower case, "text" or "program"; ASCII, from the tables here
	Text  bool   // text in any encoding; else a format that its first bytes tell
}

// The tables are written once and never changed. What is in none of them
// promises nothing and is not counted: keys, tokens, blobs of a database, what
// is encrypted by nature (.gpg, .age, .kdbx, .p12 …).
var (
	// textKinds may hold any text; a random run of bytes is in none of them.
	textKinds = set(`.txt .text .md .markdown .rst .adoc .tex .bib .csv .tsv .log .err .json .jsonl .ndjson .yaml .yml .toml .ini .cfg
		.conf .cnf .config .properties .env .xml .xsd .xsl .xslt .svg .html .htm .xhtml .css .scss .less .js .mjs .cjs .jsx .tsx .vue .php
		.py .rb .pl .pm .sh .bash .zsh .fish .ps1 .bat .cmd .lua .tcl .r .go .rs .c .h .cc .cpp .cxx .hpp .hh .m .java .kt .kts .scala .cs
		.fs .vb .swift .dart .ex .exs .erl .hs .ml .clj .lisp .el .vim .sql .graphql .proto .tf .tfvars .hcl .nix .gradle .cmake .mk .patch
		.diff .po .pot .srt .vtt .ics .vcf .eml .mbox .rtf .service .socket .timer .target .mount .rules .list .sources .desktop .repo
		.spec .pem .pub .asc .csr .crontab .plist .lock .sum .ipynb .geojson .kml .gpx .tmpl .tpl .j2 .erb .haml .jinja`)
	// formatKinds begin with bytes that tell what they are: known tells them.
	formatKinds = set(`.png .jpg .jpeg .gif .webp .bmp .tif .tiff .ico .psd .heic .pdf .ps .ai .docx .xlsx .pptx .docm .xlsm .pptm .odt .ods
		.odp .odg .epub .doc .xls .ppt .msg .vsd .zip .jar .war .ear .apk .whl .xpi .gz .tgz .bz2 .tbz2 .xz .txz .zst .lz4 .7z .rar .tar
		.deb .rpm .cab .mp3 .mp4 .m4a .m4v .mov .avi .mkv .webm .wav .flac .ogg .oga .ogv .opus .wmv .wma .so .ko .o .a .exe .dll
		.class .pyc .wasm .sqlite .sqlite3 .parquet .npy .qcow2 .vmdk .vhdx .ttf .otf .woff .woff2 .dwg .pst .accdb .mdb .evtx .pcap`)
	// textNames have no extension.
	textNames = set(`passwd group shadow gshadow hosts fstab crontab sudoers profile bashrc .bashrc .profile .bash_profile .zshrc .vimrc
		.gitconfig .gitignore .htaccess .env known_hosts authorized_keys config id_rsa id_ed25519 readme license licence copying changelog
		authors install makefile dockerfile vagrantfile gemfile rakefile procfile jenkinsfile todo news notice version syslog messages`)
	// noMagic are compressed and do not say so.
	noMagic = set(`.br .lzma .zz .deflate .lzo .snappy .sz`)
)

func set(words string) map[string]bool {
	m := map[string]bool{}
	for _, w := range strings.Fields(words) {
		m[w] = true
	}
	return m
}

// textDir is where a name without extension promises text too.
const textDir entry.Path = "/etc"

// Promise returns what the name of p promises, and the mode bits mode of a regular
// file that cannot be run without being a program. Numbers that rotation and
// copies append count for nothing.
func Promise(p entry.Path, mode uint16) Kind {
	name := strings.ToLower(p.Base())
	ext := extension(name)
	for strings.Trim(ext, ".0123456789") == "" && ext != "" && ext != name {
		name = name[:len(name)-len(ext)]
		ext = extension(name)
	}
	switch {
	case textKinds[ext]:
		return Kind{strings.Clone(ext), true}
	case formatKinds[ext]:
		return Kind{strings.Clone(ext), false}
	case textNames[name]:
		return Kind{"text", true}
	case ext != "":
		return Kind{}
	case p.Under(textDir):
		return Kind{"text", true}
	case mode&0o111 != 0:
		return Kind{"program", false}
	}
	return Kind{}
}

// extension is what begins with the last dot of a name, "" where that is its first
// byte or there is none.
func extension(name string) string {
	if i := strings.LastIndexByte(name, '.'); i > 0 {
		return name[i:]
	}
	return ""
}

// beneath is the promise of a name that an encryptor appended an extension to.
func beneath(p entry.Path) Kind {
	name := p.Base()
	ext := extension(name)
	if ext == "" {
		return Kind{}
	}
	return Promise(p.Dir().Join([]byte(name[:len(name)-len(ext)])), 0)
}

// magic are the first bytes of formats, in no order; at is where they stand.
var magic = []struct {
	at    int
	bytes string
}{
	{0, "\x89PNG\r\n\x1a\n"}, {0, "\xff\xd8\xff"}, {0, "GIF8"}, {0, "RIFF"}, {0, "BM"}, {0, "II*\x00"}, {0, "MM\x00*"}, {0, "\x00\x00\x01\x00"},
	{0, "8BPS"}, {4, "ftyp"}, {4, "moov"}, {4, "mdat"}, {4, "free"}, {4, "wide"}, {4, "skip"}, {0, "%!PS"}, {0, "\xc5\xd0\xd3\xc6"},
	{0, "PK\x03\x04"}, {0, "PK\x05\x06"}, {0, "PK\x07\x08"}, {0, "\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"}, {0, "{\\rtf"}, {0, "!BDN"},
	{0, "\x1f\x8b\x08"}, {0, "\x1f\x9d"}, {0, "\x1f\xa0"}, {0, "BZh"}, {0, "\xfd7zXZ\x00"}, {0, "\x28\xb5\x2f\xfd"}, {0, "\x04\x22\x4d\x18"},
	{0, "\x02\x21\x4c\x18"}, {0, "\x89LZO"}, {0, "LZIP"}, {0, "7z\xbc\xaf\x27\x1c"}, {0, "Rar!\x1a\x07"}, {257, "ustar"}, {0, "!<arch>\n"},
	{0, "\xed\xab\xee\xdb"}, {0, "MSCF"}, {0, "ID3"}, {0, "\xff\xfb"}, {0, "\xff\xfa"}, {0, "\xff\xf3"}, {0, "\xff\xf2"}, {0, "fLaC"}, {0, "OggS"},
	{0, "\x1a\x45\xdf\xa3"}, {0, "\x30\x26\xb2\x75"}, {0, "\x7fELF"}, {0, "#!"}, {0, "MZ"}, {0, "\xca\xfe\xba\xbe"}, {0, "\xfe\xed\xfa"},
	{0, "\xcf\xfa\xed\xfe"}, {0, "\x00asm"}, {0, "SQLite format 3\x00"}, {0, "PAR1"}, {0, "\x93NUMPY"}, {0, "Obj\x01"}, {0, "QFI\xfb"},
	{0, "KDMV"}, {0, "vhdxfile"}, {0, "\x00\x01\x00\x00\x00"}, {0, "OTTO"}, {0, "wOFF"}, {0, "wOF2"}, {0, "AC10"},
	{0, "\x00\x01\x00\x00Standard "}, {0, "ElfFile\x00"}, {0, "\xd4\xc3\xb2\xa1"}, {0, "\xa1\xb2\xc3\xd4"}, {0, "\x0a\x0d\x0d\x0a"}, {0, "PACK"},
	{0, "\xff\xf1"}, {0, "\xff\xf9"}, {0, "\xff\x0a"}, {0, "\x00\x00\x00\x0cJXL "}, {0, "\x00\x00\x00\x0cjP  "}, {0, "IIU\x00"}, {0, "IIRO"},
	{0, "FUJIFILM"}, {0, "\x00\x00\x01\xba"}, {0, "\x00\x00\x01\xb3"}, {0, "\x00\x00\x00\x01"}, {0, "ARROW1"}, {0, "ORC"}, {0, "\x89HDF"},
	{0, "\x80\x04\x95"}, {0, "BLENDER"}, {0, "MSWIM"}, {0, "hsqs"}, {0, "zPQ"}, {0, "LPKSHHRH"}, {0, "x\x01"}, {0, "x\x5e"}, {0, "x\x9c"}, {0, "x\xda"},
	{2, "\x0d\x0a"}, // what Python compiled
}

// known reports whether a file that begins with head is of a known format.
func known(head []byte) bool {
	for _, m := range magic {
		if len(head) >= m.at+len(m.bytes) && string(head[m.at:m.at+len(m.bytes)]) == m.bytes {
			return true
		}
	}
	return bytes.Contains(head[:min(len(head), pdfWithin)], []byte("%PDF-"))
}

// pdfWithin is how far into a file its readers look for the mark of a PDF.
const pdfWithin = 1024
