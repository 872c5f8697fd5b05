package report

// Unfinished returns the numbers of reports that a process began and did not
// end, ascending, each once. One that runs just now is among them.
func (a *Archive) Unfinished() []uint64 { return a.unfinished() }
