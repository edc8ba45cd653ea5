// Offsets prints the field offsets of Go runtime structs, read from the DWARF of Go binaries: one
// row of offsets.tsv per field, each valid for the one release the binary was built with.
// measure.sh runs it over a list of releases; merge.awk folds the rows into ranges.
//
//	go run . binary...
package main

import (
	"debug/buildinfo"
	"debug/dwarf"
	"debug/elf"
	"fmt"
	"os"
	"regexp"
	"sort"
	"strings"
)

// The structs that golang/ reads, or may soon.
var structs = []string{
	"g", "m", "p", "schedt", "sudog", "hchan", "bucket", "memRecord", "blockRecord", "mstats",
	"consistentHeapStats", "heapStatsDelta", "timeHistogram", "gcControllerState", "workType",
	"mheap", "mspan", "mcache", "heapArena",
}

type printer struct{ name, release string }

func (p printer) row(field string, offset, size int64, typ string) {
	fmt.Printf("%s\t%s\t%s\t%s\t%d\t%d\t%s\n", p.name, field, p.release, p.release, offset, size, typ)
}

func underlying(t dwarf.Type) dwarf.Type {
	for {
		td, ok := t.(*dwarf.TypedefType)
		if !ok {
			return t
		}
		t = td.Type
	}
}

var importPath = regexp.MustCompile(`[\w.-]+/`)

// The name of a type without what varies between releases that lay it out alike: DWARF's "struct ",
// the body of an anonymous struct, the import path of a package.
func name(t dwarf.Type) string {
	s := strings.ReplaceAll(t.String(), "struct ", "")
	if i := strings.IndexByte(s, '{'); i >= 0 {
		s = s[:i] + "struct"
	}
	return importPath.ReplaceAllString(s, "")
}

// Structs whose fields are listed below a field of that type, too.
var nested = map[string]bool{
	"runtime.stack": true, "runtime.gobuf": true, "runtime.gQueue": true,
	"runtime.consistentHeapStats": true, "runtime.cpuStats": true, "runtime.memRecordCycle": true,
}

func (p printer) fields(prefix string, base int64, st *dwarf.StructType) {
	for _, f := range st.Field {
		if f.Name == "_" || f.Type.Size() == 0 {
			continue
		}
		path := prefix + f.Name
		p.row(path, base+f.ByteOffset, f.Type.Size(), name(f.Type))
		if inner, ok := underlying(f.Type).(*dwarf.StructType); ok && nested[inner.StructName] {
			p.fields(path+".", base+f.ByteOffset, inner)
		}
	}
}

func measure(path string) error {
	info, err := buildinfo.ReadFile(path)
	if err != nil {
		return err
	}
	file, err := elf.Open(path)
	if err != nil {
		return err
	}
	defer file.Close()
	data, err := file.DWARF()
	if err != nil {
		return err
	}
	missing := map[string]bool{}
	for _, s := range structs {
		missing[s] = true
	}
	release := strings.TrimPrefix(info.GoVersion, "go")
	for r := data.Reader(); ; {
		e, err := r.Next()
		if err != nil {
			return err
		}
		if e == nil {
			break
		}
		full, _ := e.Val(dwarf.AttrName).(string)
		short := strings.TrimPrefix(full, "runtime.")
		if e.Tag != dwarf.TagStructType || short == full || !missing[short] {
			continue
		}
		t, err := data.Type(e.Offset)
		if err != nil {
			return err
		}
		delete(missing, short)
		p := printer{short, release}
		p.row("", 0, t.Size(), "(struct size)")
		p.fields("", 0, t.(*dwarf.StructType))
	}
	var names []string
	for s := range missing {
		names = append(names, s)
	}
	sort.Strings(names)
	if len(names) > 0 {
		fmt.Fprintf(os.Stderr, "offsets: %s: no type information for %s\n", path,
			strings.Join(names, ", "))
	}
	return nil
}

func main() {
	for _, path := range os.Args[1:] {
		if err := measure(path); err != nil {
			fmt.Fprintf(os.Stderr, "offsets: %s: %v\n", path, err)
			os.Exit(1)
		}
	}
}
