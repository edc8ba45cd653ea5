module totals

go 1.19
