package sshd

import (
	"slices"
	"strings"
	"sync"
)

// shape says how the arguments of a keyword are read and printed.
type shape uint8

const (
	flag     shape = iota // one word of a list, in any case
	number                // a decimal number
	duration              // convtime: 90, 2m, 1h30m; kept in seconds
	word                  // one argument as it stands
	filename              // one argument, absolute or none
	rest                  // all of the line behind the keyword, unquoted
	words                 // arguments in one line
	each                  // arguments, a line for each
	algs                  // a comma list; + - ^ change the built-in one
	port                  // a port, one a line
	listen                // address, port or both; with Port and AddressFamily it makes the sockets
	startups              // begin:rate:full
	octal                 // a mode
	level                 // a word in capitals
	qos                   // one or two classes
	rekey                 // bytes and seconds
	command               // a name, and what runs
	ignored               // deprecated, or not for this system
	include
	match
)

// merge says what becomes of a keyword that stands there twice.
type merge uint8

const (
	first merge = iota // the first one counts
	all                // they add up
	last               // the last one counts, against what sshd_config(5) says; up to 9.9, see Config.last
)

// option is one keyword of sshd_config(5).
type option struct {
	name    string // as sshd -T prints it
	shape   shape
	merge   merge
	inMatch bool     // allowed in a Match block
	words   []string // of a flag: its values; "alias=value" is another spelling
	builtin []string // lines of sshd -T where nothing is set
	defined bool     // builtin holds in every release since 7.0 and in the distributions'
}

var (
	yesNo    = []string{"yes", "no"}
	tcpWords = []string{"yes", "all=yes", "no", "remote", "local"}
)

// table lists the keywords of OpenSSH up to 10.2 and of Debian's and Red Hat's
// patches: name, shape, merge, "m" where a Match block may have it, and what is
// built in; "?" is a value that depends on release or distribution. As of
// November 2026, read off sshd -T of 9.2p1 and the release notes.
var table = []struct {
	name    string
	shape   shape
	merge   merge
	flags   string
	words   []string
	builtin string // lines, separated by "|"
}{
	{"acceptenv", each, all, "m", nil, ""},
	{"addressfamily", flag, first, "", []string{"inet", "inet6", "any"}, "any"},
	{"allowagentforwarding", flag, first, "m", yesNo, "yes"},
	{"allowgroups", each, all, "m", nil, ""},
	{"allowstreamlocalforwarding", flag, first, "m", tcpWords, "yes"},
	{"allowtcpforwarding", flag, first, "m", tcpWords, "yes"},
	{"allowusers", each, all, "m", nil, ""},
	{"authenticationmethods", words, first, "m", nil, "any"},
	{"authorizedkeyscommand", rest, first, "m", nil, "none"},
	{"authorizedkeyscommanduser", word, first, "m", nil, "none"},
	{"authorizedkeysfile", words, first, "m", nil, ".ssh/authorized_keys .ssh/authorized_keys2"},
	{"authorizedprincipalscommand", rest, first, "m", nil, "none"},
	{"authorizedprincipalscommanduser", word, first, "m", nil, "none"},
	{"authorizedprincipalsfile", word, first, "m", nil, "none"},
	{"banner", filename, first, "m", nil, "none"},
	{"casignaturealgorithms", algs, first, "m", nil, "?"},
	{"channeltimeout", words, first, "m", nil, "?"},
	{"chrootdirectory", word, first, "m", nil, "none"},
	{"ciphers", algs, first, "", nil, "?"},
	{"clientalivecountmax", number, first, "m", nil, "3"},
	{"clientaliveinterval", duration, first, "m", nil, "0"},
	{"compression", flag, first, "", []string{"yes", "delayed=yes", "no"}, "yes"},
	{"debianbanner", flag, first, "", yesNo, "?"},
	{"denygroups", each, all, "m", nil, ""},
	{"denyusers", each, all, "m", nil, ""},
	{"disableforwarding", flag, first, "m", yesNo, "no"},
	{"exposeauthinfo", flag, first, "m", yesNo, "no"},
	{"fingerprinthash", level, last, "", nil, "SHA256"},
	{"forcecommand", rest, first, "m", nil, "none"},
	{"gatewayports", flag, first, "m", []string{"clientspecified", "yes", "no"}, "no"},
	{"gssapiauthentication", flag, first, "m", yesNo, "no"},
	{"gssapicleanupcredentials", flag, first, "", yesNo, "?"},
	{"gssapienablek5users", flag, first, "m", yesNo, "?"},
	{"gssapikexalgorithms", algs, first, "", nil, "?"},
	{"gssapikeyexchange", flag, first, "", yesNo, "no"},
	{"gssapistorecredentialsonrekey", flag, first, "", yesNo, "no"},
	{"gssapistrictacceptorcheck", flag, first, "", yesNo, "?"},
	{"hostbasedacceptedalgorithms", algs, first, "m", nil, "?"},
	{"hostbasedauthentication", flag, first, "m", yesNo, "no"},
	{"hostbasedusesnamefrompacketonly", flag, first, "m", yesNo, "no"},
	{"hostcertificate", filename, all, "", nil, ""},
	{"hostkey", filename, all, "", nil, "/etc/ssh/ssh_host_rsa_key|/etc/ssh/ssh_host_ecdsa_key|/etc/ssh/ssh_host_ed25519_key"},
	{"hostkeyagent", word, first, "", nil, "none"},
	{"hostkeyalgorithms", algs, first, "", nil, "?"},
	{"ignorerhosts", flag, first, "m", []string{"yes", "no", "shosts-only"}, "yes"},
	{"ignoreuserknownhosts", flag, first, "m", yesNo, "no"},
	{"include", include, all, "m", nil, ""},
	{"ipqos", qos, last, "m", nil, "?"},
	{"kbdinteractiveauthentication", flag, first, "m", yesNo, "yes"},
	{"kerberosauthentication", flag, first, "m", yesNo, "no"},
	{"kerberosgetafstoken", flag, first, "", yesNo, "?"},
	{"kerberosorlocalpasswd", flag, first, "", yesNo, "?"},
	{"kerberosticketcleanup", flag, first, "", yesNo, "?"},
	{"kerberosuniqueccache", flag, first, "", yesNo, "?"},
	{"kerberosusekuserok", flag, first, "m", yesNo, "?"},
	{"kexalgorithms", algs, first, "", nil, "?"},
	{"listenaddress", listen, all, "", nil, ""},
	{"logingracetime", duration, first, "", nil, "120"},
	{"loglevel", level, first, "m", nil, "INFO"},
	{"logverbose", words, first, "m", nil, "?"},
	{"macs", algs, first, "", nil, "?"},
	{"match", match, all, "m", nil, ""},
	{"maxauthtries", number, first, "m", nil, "6"},
	{"maxsessions", number, first, "m", nil, "10"},
	{"maxstartups", startups, last, "", nil, "10:30:100"},
	{"modulifile", filename, first, "", nil, "?"},
	{"pamservicename", word, first, "m", nil, "?"},
	{"passwordauthentication", flag, first, "m", yesNo, "yes"},
	{"permitemptypasswords", flag, first, "m", yesNo, "no"},
	{"permitlisten", words, first, "m", nil, "any"},
	{"permitopen", words, first, "m", nil, "any"},
	{"permitrootlogin", flag, first, "m", []string{"prohibit-password", "without-password=prohibit-password", "forced-commands-only", "yes", "no"}, "prohibit-password"},
	{"permittty", flag, first, "m", yesNo, "yes"},
	{"permittunnel", flag, first, "m", []string{"no", "point-to-point", "ethernet", "yes"}, "no"},
	{"permituserenvironment", word, first, "", nil, "no"},
	{"permituserrc", flag, first, "m", yesNo, "yes"},
	{"persourcemaxstartups", word, last, "", nil, "none"},
	{"persourcenetblocksize", word, last, "", nil, "?"},
	{"persourcepenalties", words, all, "", nil, "?"},
	{"persourcepenaltyexemptlist", word, first, "", nil, "?"},
	{"pidfile", filename, first, "", nil, "?"},
	{"port", port, all, "", nil, "22"},
	{"printlastlog", flag, first, "", yesNo, "yes"},
	{"printmotd", flag, first, "", yesNo, "yes"},
	{"pubkeyacceptedalgorithms", algs, first, "m", nil, "?"},
	{"pubkeyauthentication", flag, first, "m", yesNo, "yes"},
	{"pubkeyauthoptions", words, first, "m", nil, "none"},
	{"rdomain", word, first, "m", nil, "none"},
	{"refuseconnection", flag, first, "m", yesNo, "?"},
	{"rekeylimit", rekey, first, "m", nil, "0 0"},
	{"requiredrsasize", number, first, "m", nil, "?"},
	{"revokedkeys", filename, first, "m", nil, "none"},
	{"securitykeyprovider", word, first, "", nil, "internal"},
	{"setenv", each, first, "m", nil, ""},
	{"sshdauthpath", filename, first, "", nil, "?"},
	{"sshdsessionpath", filename, first, "", nil, "?"},
	{"streamlocalbindmask", octal, last, "m", nil, "0177"},
	{"streamlocalbindunlink", flag, first, "m", yesNo, "no"},
	{"strictmodes", flag, first, "", yesNo, "yes"},
	{"subsystem", command, all, "m", nil, ""},
	{"syslogfacility", level, first, "", nil, "AUTH"},
	{"tcpkeepalive", flag, first, "", yesNo, "yes"},
	{"trustedusercakeys", filename, first, "m", nil, "none"},
	{"unusedconnectiontimeout", duration, first, "m", nil, "?"},
	{"usedns", flag, first, "", yesNo, "no"},
	{"usepam", flag, first, "", yesNo, "no"},
	{"versionaddendum", rest, first, "", nil, "none"},
	{"x11displayoffset", number, first, "m", nil, "10"},
	{"x11forwarding", flag, first, "m", yesNo, "no"},
	{"x11maxdisplays", number, first, "m", nil, "?"},
	{"x11uselocalhost", flag, first, "m", yesNo, "yes"},
	{"xauthlocation", filename, first, "", nil, "?"},
}

// aliases are other names of keywords.
var aliases = map[string]string{
	"challengeresponseauthentication": "kbdinteractiveauthentication",
	"skeyauthentication":              "kbdinteractiveauthentication",
	"dsaauthentication":               "pubkeyauthentication",
	"hostdsakey":                      "hostkey",
	"keepalive":                       "tcpkeepalive",
	"pubkeyacceptedkeytypes":          "pubkeyacceptedalgorithms",
	"hostbasedacceptedkeytypes":       "hostbasedacceptedalgorithms",
	"gssapicleanupcreds":              "gssapicleanupcredentials",
}

// deprecated keywords are taken and do nothing.
var deprecated = strings.Fields(`afstokenpassing authorizedkeysfile2 checkmail gssapiusesessioncredcache gssusesessionccache
	kerberostgtpassing keyregenerationinterval pamauthenticationviakbdint permitblacklistedkeys protocol reversemappingcheck
	rhostsauthentication rhostsrsaauthentication rsaauthentication serverkeybits uselogin useprivilegeseparation verifyreversemapping`)

// keywords returns the table by names in lower case, aliases and deprecated
// ones included. Nobody changes it.
var keywords = sync.OnceValue(func() map[string]*option {
	out := make(map[string]*option, len(table)+len(aliases)+len(deprecated))
	for _, t := range table {
		o := &option{name: t.name, shape: t.shape, merge: t.merge, inMatch: t.flags == "m", words: t.words, defined: t.builtin != "?"}
		if o.defined && t.builtin != "" {
			o.builtin = strings.Split(t.builtin, "|")
		}
		out[t.name] = o
	}
	for from, to := range aliases {
		out[from] = out[to]
	}
	for _, d := range deprecated {
		out[d] = &option{name: d, shape: ignored, inMatch: slices.Contains([]string{"authorizedkeysfile2", "rhostsrsaauthentication", "rsaauthentication"}, d)}
	}
	return out
})
