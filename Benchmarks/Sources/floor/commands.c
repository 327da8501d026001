// Programs, timed from the fork to their end.
#include "floor.h"
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

enum { most_words = 64 };

static void run(char **words) {
  pid_t child = fork();
  if (child == 0) {
    dup2(open("/dev/null", O_WRONLY), STDOUT_FILENO);
    execvp(words[0], words);
    die(words[0]);
  }
  int status;
  if (waitpid(child, &status, 0) < 0 || status != 0) {
    fprintf(stderr, "floor: %s: status %d\n", words[0], status);
    exit(1);
  }
}

static void run_line(char *line) {
  char *words[most_words + 1];
  int count = 0;
  for (char *word = strtok(line, " \n"); ; word = strtok(NULL, " \n")) {
    if (word == NULL || strcmp(word, ";") == 0) {
      words[count] = NULL;
      if (count > 0) run(words);
      count = 0;
      if (word == NULL) return;
    } else if (count < most_words) {
      words[count++] = word;
    }
  }
}

// FILE: a sample for each line of it, which is commands with " ; " between them and no quoting
void commands(char **a) {
  FILE *file = fopen(a[0], "r");
  if (file == NULL) die(a[0]);
  char line[4096];
  while (fgets(line, sizeof line, file) != NULL) {
    int64_t start = now();
    run_line(line);
    sample("command", now() - start);
  }
}
