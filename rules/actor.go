package rules

// Actor is a process that caused a change. It is information, and changes no
// verdict. Texts are bytes of the process's choice.
type Actor struct {
	Live    bool  // it was there while it was read; else nothing but PID is known
	PID     int64 // 0: not known
	Exe     string
	Command []string // what it says its command line is
	Cut     bool     // of Command not all is here
	UID     int64    // real user id
	EUID    int64    // effective
	Login   int64    // user id that it logged in as; negative: none, or not known
	Cgroup  string
	Unit    string // of systemd
	Parents []Ancestor
	Manager string // the package manager among it and its parents, "" if none
}

// Ancestor is a process above an Actor, the nearest first.
type Ancestor struct {
	PID int64
	Exe string
}
