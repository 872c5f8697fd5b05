package integrity

import "intact/rules"

// Rule is one row of the table of rules.
type Rule struct {
	ID      string
	Title   string         // what happened, a short phrase
	Why     string         // why it matters
	Default rules.Severity // of an ordinary case; reasons in the finding say why one is higher or lower
	Attack  []string       // ATT&CK technique ids
}

// The rule ids. They are stable: waivers and reports name them.
const (
	ruleAdded      = "fim.added"
	ruleRemoved    = "fim.removed"
	ruleContent    = "fim.content"
	ruleMetadata   = "fim.metadata"
	ruleTouch      = "fim.touch"
	ruleType       = "fim.type"
	ruleTarget     = "fim.target"
	ruleRenamed    = "fim.renamed"
	ruleReplaced   = "fim.replaced"
	ruleSetuid     = "fim.setuid"
	ruleCapability = "fim.capability"
	ruleWritable   = "fim.writable"
	ruleExecutable = "fim.executable"
	ruleLoader     = "fim.loader"
	rulePAM        = "fim.pam"
	ruleSSH        = "fim.ssh"
	ruleSudo       = "fim.sudo"
	ruleCron       = "fim.cron"
	ruleSystemd    = "fim.systemd"
	ruleModule     = "fim.kernel-module"
	ruleBoot       = "fim.boot"
	ruleStartup    = "fim.startup"
	ruleAccounts   = "fim.accounts"
	ruleLog        = "fim.log"
	ruleDevice     = "fim.device-node"
	ruleRegained   = "fim.regained"
	ruleTwoViews   = "fim.two-views"
	ruleMass       = "fim.mass-encryption"
	ruleLost       = "coverage.lost"
)

// Rules returns the table of rules, in the order of its ids' documentation.
func Rules() []Rule { return append([]Rule(nil), table[:]...) }

// The table is written once and never changed.
var table = [...]Rule{
	{ruleAdded, "something new", "every tool that an intruder leaves is something new; in a system path it came with a package or from a person", rules.Low, nil},
	{ruleRemoved, "something gone", "removing a file disables what reads it and hides what it said", rules.Low, []string{"T1070.004"}},
	{ruleContent, "other content", "programs and their configuration do what their bytes say", rules.Medium, []string{"T1565.001"}},
	{ruleMetadata, "other owner, mode, ACL, label or flags", "they decide who may read, write and run it", rules.Medium, []string{"T1222.002"}},
	{ruleTouch, "other times only", "what it holds was verified; the times show that somebody was here", rules.Low, []string{"T1070.006"}},
	{ruleType, "another type of object", "a link, pipe or device in place of a file redirects who opens it", rules.Medium, []string{"T1574"}},
	{ruleTarget, "the link leads elsewhere", "who opens it gets another file", rules.Medium, []string{"T1574"}},
	{ruleRenamed, "moved", "the same object under another name: judged as new there and gone here", rules.Low, []string{"T1036.003"}},
	{ruleReplaced, "another object with the same content", "bytes and attributes were verified to be equal; the object was written anew, as by a reinstallation", rules.Low, nil},
	{ruleSetuid, "runs with its owner's rights", "a new setuid or setgid file is the classic way back to root", rules.High, []string{"T1548.001"}},
	{ruleCapability, "runs with capabilities", "file capabilities give parts of root's power without a setuid bit", rules.High, []string{"T1548.001"}},
	{ruleWritable, "anybody may write", "every user and every taken-over service can alter it", rules.Medium, []string{"T1222.002"}},
	{ruleExecutable, "new executable", "a program in a system path is run by name, by root too", rules.Medium, []string{"T1036.005"}},
	{ruleLoader, "what the dynamic loader loads", "it runs code inside every program", rules.High, []string{"T1574.006"}},
	{rulePAM, "how users are authenticated", "a PAM module or line can accept any password and copy it", rules.High, []string{"T1556.003"}},
	{ruleSSH, "who may log in by ssh", "keys and settings of ssh are a door that outlives passwords", rules.High, []string{"T1098.004"}},
	{ruleSudo, "who may become root", "sudo, doas and polkit rules give root's rights", rules.High, []string{"T1548.003"}},
	{ruleCron, "what runs on a schedule", "a scheduled command comes back after every clean-up", rules.High, []string{"T1053.003"}},
	{ruleSystemd, "what runs as a service", "units and init scripts run at boot, as root", rules.High, []string{"T1543.002"}},
	{ruleModule, "what the kernel loads", "a kernel module can hide everything else, from this tool too", rules.High, []string{"T1547.006"}},
	{ruleBoot, "what the machine boots", "the boot loader, kernel and initial file system run before anything can watch", rules.High, []string{"T1542"}},
	{ruleStartup, "what runs at login or on an event", "shell profiles, device, package and interpreter hooks run code without being called", rules.High, []string{"T1546"}},
	{ruleAccounts, "the account databases", "a line here is a user, a group or a password", rules.High, []string{"T1136.001", "T1098"}},
	{ruleLog, "a log lost what it said", "logs only grow: what was there must stay as it was", rules.High, []string{"T1685.006"}},
	{ruleDevice, "a device node outside /dev", "it reaches a disk or memory past all file permissions", rules.High, []string{"T1006"}},
	{ruleRegained, "readable again", "a known gap is verified from now on", rules.Info, nil},
	{ruleTwoViews, "the disk holds other bytes than the system shows", "who writes to the block device below a mounted file system plants what the next boot reads and nobody sees before", rules.Critical, []string{"T1006", "T1014"}},
	{ruleMass, "many files became random bytes at once", "ransomware and wipers turn text and documents into what nobody can read; stop it before it has them all", rules.Critical, []string{"T1486"}},
	{ruleLost, "no longer verified", "it was verified in the baseline and could not be read now: anything may have happened to it", rules.Medium, []string{"T1685"}},
}

// order gives a rule's place in the table, -1 if it has none.
func order(id string) int {
	for i := range table {
		if table[i].ID == id {
			return i
		}
	}
	return -1
}
