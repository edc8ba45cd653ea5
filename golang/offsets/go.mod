module godiag/offsets

go 1.19
