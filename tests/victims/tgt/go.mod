module tgt

go 1.19
