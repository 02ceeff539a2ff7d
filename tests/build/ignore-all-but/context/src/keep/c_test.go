src/keep/c_test.c
