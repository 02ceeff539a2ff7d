src/lib/b_test.c
