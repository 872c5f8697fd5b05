package app

import (
	"bufio"
	"time"

	"intact/report"
	"intact/rules/posture"
)

// postureFormat names the lines of posture --format json; docs/posture.md
// describes them.
const postureFormat = "intact.posture/1"

type postureHeader struct {
	Type    string    `json:"type"`
	Format  string    `json:"format"`
	Root    string    `json:"root"`
	RootB64 []byte    `json:"root_b64,omitempty"`
	Live    bool      `json:"live"`
	Host    string    `json:"host,omitempty"` // of the running host alone
	Profile string    `json:"profile"`
	Time    time.Time `json:"time"`
}

// postureSubject is a subject that does not pass, with what its verdict rests on.
type postureSubject struct {
	Type        string  `json:"type"`
	Set         string  `json:"set"`
	Rule        string  `json:"rule"`
	Kind        string  `json:"kind,omitempty"`
	Name        string  `json:"name"`
	NameB64     []byte  `json:"name_b64,omitempty"`
	Verdict     string  `json:"verdict"`
	Severity    string  `json:"severity,omitempty"` // of what fails, waived or not
	Reason      string  `json:"reason,omitempty"`
	Evidence    string  `json:"evidence,omitempty"`
	EvidenceB64 []byte  `json:"evidence_b64,omitempty"`
	Digest      string  `json:"digest,omitempty"` // of the evidence, for a waiver
	Waiver      *waiver `json:"waiver,omitempty"`
}

// waiver is one that covers a subject, or did.
type waiver struct {
	Until  string `json:"until"` // the last day
	Reason string `json:"reason"`
	By     string `json:"by"`
	Place  string `json:"place"`
	Lapsed bool   `json:"lapsed"`
}

type postureTrailer struct {
	Type    string        `json:"type"`
	Verdict string        `json:"verdict"` // clean, findings or incomplete
	Exit    int           `json:"exit"`
	Exits   []int         `json:"exits"`
	Counts  postureCounts `json:"counts"`
}

// json writes a header, then of each rule its line and those of its subjects that
// do not pass, then a trailer. Lines of findings and rules are as in a report.
func (j *judged) json(w *bufio.Writer) error {
	root, raw := report.Coded(j.root.HostPath())
	h := postureHeader{Type: "header", Format: postureFormat, Root: root, RootB64: raw, Live: j.root.Live(), Profile: j.o.Profile, Time: j.env.Now().UTC()}
	if h.Live {
		h.Host = hostName()
	}
	if err := line(w, h); err != nil {
		return err
	}
	for i := range j.results {
		if err := j.jsonResult(w, &j.results[i]); err != nil {
			return err
		}
	}
	t := postureTrailer{Type: "trailer", Verdict: string(report.Clean), Exit: j.out.Exit(), Exits: append([]int{}, j.out.Exits()...), Counts: j.count()}
	switch t.Exit {
	case ExitFindings:
		t.Verdict = string(report.Findings)
	case ExitIncomplete:
		t.Verdict = string(report.Incomplete)
	}
	return line(w, t)
}

func (j *judged) jsonResult(w *bufio.Writer, r *posture.Result) error {
	b, err := report.RuleLine(report.Rule{Set: r.Set, Rule: r.ID, Verdict: string(r.Verdict), Reason: r.Reason})
	if err == nil {
		_, err = w.Write(b)
	}
	for i := range r.Subjects {
		s := &r.Subjects[i]
		if err == nil && s.Verdict == posture.Fail {
			f := s.Finding
			if b, err = report.FindingLine(f); err == nil {
				_, err = w.Write(b)
			}
		}
		if err == nil {
			err = line(w, subjectLine(r, s))
		}
	}
	return err
}

func subjectLine(r *posture.Result, s *posture.Subject) postureSubject {
	p := postureSubject{Type: "subject", Set: r.Set, Rule: r.ID, Kind: s.Finding.Subject.Kind, Verdict: string(s.Verdict), Digest: s.Digest}
	p.Name, p.NameB64 = report.Coded(s.Name)
	p.Evidence, p.EvidenceB64 = report.Coded(s.Evidence)
	p.Reason, _ = report.Coded(s.Reason)
	if s.Verdict == posture.Fail || s.Verdict == posture.Waived {
		p.Severity = s.Finding.Severity.String()
	}
	for _, v := range []*posture.Waiver{s.Waiver, s.Lapsed} {
		if v != nil {
			p.Waiver = &waiver{v.Until.AddDate(0, 0, -1).Format(time.DateOnly), v.Reason, v.By, v.Place, v == s.Lapsed}
		}
	}
	return p
}

// line writes one object of JSON that is no record of a report.
func line(w *bufio.Writer, v any) error {
	b, err := report.Line(v)
	if err == nil {
		_, err = w.Write(b)
	}
	return err
}
