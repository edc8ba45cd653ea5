# Folds rows of offsets.tsv (several files, later ones win) into ranges of releases and prints the
# table with its head.  Ranges are inclusive and mean the releases named in the line "# releases:",
# so a row says nothing of a release that nobody measured.  The type is that of the newest.
#
#	awk -f merge.awk ../offsets.tsv rows.tsv > new.tsv

function number(release,	part, n) {
	n = split(release, part, ".")
	return part[1] * 1000000 + part[2] * 1000 + (n > 2 ? part[3] : 0)
}

function know(release) {
	if (!(release in known)) {
		known[release] = number(release)
		list[++n_list] = release
	}
}

function sort_releases(	i, j, r) {
	for (i = 2; i <= n_list; i++) {
		r = list[i]
		for (j = i - 1; j > 0 && known[list[j]] > known[r]; j--)
			list[j + 1] = list[j]
		list[j + 1] = r
	}
}

function flush(	have_at) {
	if (first == "")
		return
	split(have, have_at, SUBSEP)
	printf "%s\t%s\t%s\t%s\t%s\t%s\n", key_of[k], first, last, have_at[1], have_at[2], type
	first = ""
}

BEGIN { FS = "\t" }

/^# releases:/ {
	n = split($0, word, " ")
	for (i = 3; i <= n; i++)
		know(word[i])
	next
}

/^#/ { next }

NF == 7 {
	key = $1 "\t" $2
	if (!(key in seen)) {
		seen[key] = 1
		if (!($1 in struct_at)) {
			struct_at[$1] = ++n_structs
			struct_of[n_structs] = $1
		}
		key_list[$1, ++n_keys_of[$1]] = key
	}
	if ($3 == $4)
		know($3)
	row[++n_rows] = $0
}

END {
	sort_releases()
	for (i = 1; i <= n_list; i++)
		at[list[i]] = i
	for (i = 1; i <= n_rows; i++) {
		split(row[i], f, "\t")
		if (!(f[3] in at) || !(f[4] in at)) {
			printf "merge: unknown release in: %s\n", row[i] > "/dev/stderr"
			exit 1
		}
		for (j = at[f[3]]; j <= at[f[4]]; j++) {
			place[f[1] "\t" f[2], j] = f[5] SUBSEP f[6]
			type_at[f[1] "\t" f[2], j] = f[7]
		}
	}
	print "# Field offsets of Go runtime structs (linux/amd64, gc, default GOEXPERIMENT), by release."
	print "# Up to 1.26.0 from type-checking the runtime's sources, newer ones from DWARF, which also"
	print "# confirmed the first and last release of each series: not one field differed."
	print "# A release is exact when it is listed here; ranges are inclusive.  How to add one: offsets/."
	line = "# releases:"
	for (i = 1; i <= n_list; i++)
		line = line " " list[i]
	print line
	print "# struct\tfield (empty: the whole)\tfirst release\tlast release\toffset\tsize\tGo type"
	for (s = 1; s <= n_structs; s++)
		for (i = 1; i <= n_keys_of[struct_of[s]]; i++)
			key_of[++n_keys] = key_list[struct_of[s], i]
	for (k = 1; k <= n_keys; k++) {
		for (j = 1; j <= n_list; j++) {
			now = (key_of[k], j) in place ? place[key_of[k], j] : ""
			if (now != have || first == "") {
				flush()
				have = now
				first = now != "" ? list[j] : ""
			}
			if (now != "") {
				last = list[j]
				type = type_at[key_of[k], j]
			}
		}
		flush()
	}
}
