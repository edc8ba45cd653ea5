module quiet

go 1.19
