/* A library that a plugin is linked against and that is not to be found at run time. */
int helo_test_gone(void);
int helo_test_gone(void) { return 1; }
