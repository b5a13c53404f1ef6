module broadside/bench

go 1.19
