module still

go 1.19
