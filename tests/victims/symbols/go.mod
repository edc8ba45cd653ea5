module godiag.example/symbols

go 1.18
