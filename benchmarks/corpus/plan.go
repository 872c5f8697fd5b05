package corpus

import (
	"iter"
	"math"
	"math/rand/v2"
	"strconv"
)

const (
	maxDepth   = 8       // directories between the top and a file, Small, Tiny and Huge
	smallCap   = 8 << 20 // bytes
	smallMean  = 9.0     // files a directory
	tinyMean   = 30.0    // files a directory
	sizeMedian = 3000.0  // bytes, Small
	sizeSigma  = 1.8     // of the logarithm; gives a mean near 15 KB
	emptyShare = 0.02    // Small
	tinyMax    = 400     // bytes, Tiny, Huge, Wide and Deep
)

// dirPlan is one directory to write. Its files depend on seed and index alone,
// so directories can be written in any order and at once.
type dirPlan struct {
	index  int    // 1 for the first directory below the top
	parent int    // index of the directory that holds it, 0 for the top
	name   string // unique in the whole tree
	first  int    // number of its first file in the tree
	files  int
}

// plan yields the directories of s, parents before children.
func plan(s Spec) iter.Seq[dirPlan] {
	switch s.Kind {
	case Small:
		return planForest(s, smallMean)
	case Tiny, Huge:
		return planForest(s, tinyMean)
	case Deep:
		return planChain(s)
	default:
		return func(yield func(dirPlan) bool) {
			yield(dirPlan{index: 1, name: string(s.Kind), files: s.Count})
		}
	}
}

func planChain(s Spec) iter.Seq[dirPlan] {
	return func(yield func(dirPlan) bool) {
		for i := range s.Count {
			if !yield(dirPlan{index: i + 1, parent: i, name: "level" + strconv.Itoa(i+1), first: i, files: 1}) {
				return
			}
		}
	}
}

func planForest(s Spec, mean float64) iter.Seq[dirPlan] {
	words := [...]string{"lib", "share", "doc", "mod", "pkg"}
	return func(yield func(dirPlan) bool) {
		rnd := stream(s.Seed, 0)
		depth := []int{0}
		for left := s.Count; left > 0; {
			parent := rnd.IntN(len(depth))
			for depth[parent] >= maxDepth {
				parent = rnd.IntN(len(depth))
			}
			n := min(left, 1+int(rnd.ExpFloat64()*(mean-0.5)))
			d := dirPlan{
				index:  len(depth),
				parent: parent,
				name:   words[rnd.IntN(len(words))] + strconv.FormatInt(int64(len(depth)), 36),
				first:  s.Count - left,
				files:  n,
			}
			if !yield(d) {
				return
			}
			depth = append(depth, depth[parent]+1)
			left -= n
		}
	}
}

// stream returns the random numbers of one directory; 0 is the plan itself.
func stream(seed uint64, dir int) *rand.Rand {
	return rand.New(rand.NewPCG(seed, uint64(dir)))
}

// filePlan is one file to write: its bytes are pool[offset:offset+size], for
// Big and One the whole pool over and over.
type filePlan struct {
	name   []byte
	size   int64
	offset int
}

// next draws file i of a directory. name is reused as a buffer.
func (f *filePlan) next(s Spec, rnd *rand.Rand, i int) {
	exts := [...]string{".h", ".so", ".py", ".txt", ".conf", ".gz", "", ".js", ".png", ".pyc"}
	// The number behind the random part makes the name unique, which a
	// random part alone is not among a million.
	f.name = strconv.AppendUint(append(f.name[:0], 'f'), uint64(rnd.Uint32()), 16)
	f.name = strconv.AppendInt(append(f.name, '-'), int64(i), 36)
	f.name = append(f.name, exts[rnd.IntN(len(exts))]...)
	f.offset = rnd.IntN(poolSize - smallCap)
	switch s.Kind {
	case Big, One:
		f.size = s.FileSize
	case Small:
		f.size = 0
		if rnd.Float64() >= emptyShare {
			f.size = int64(min(smallCap, sizeMedian*math.Exp(sizeSigma*rnd.NormFloat64())))
		}
	default:
		f.size = int64(rnd.IntN(tinyMax + 1))
	}
}
