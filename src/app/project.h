/* Project - a folder of somebody's own: koan.lua (or koan.json) and the scripts that it names.
 * `koan dev shop` is `cd shop; koan dev`. A folder without a configuration is the scripts
 * themselves. Main thread. */
#ifndef KOAN_APP_PROJECT_H
#define KOAN_APP_PROJECT_H

struct cli;
struct err;

/* What place 0 of the command means: goes into the project, or adds the setting `scripts`. Without
 * a place: the project here, or nothing. An exit code; what is wrong has been printed. */
int project_enter(struct cli *c);

#endif
