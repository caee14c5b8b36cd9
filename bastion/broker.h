/* The broker process: everything of the bastion but SSH itself. */
#pragma once

/* Runs in the foreground until SIGTERM or SIGINT. Returns the exit status. */
int broker_run(const char *config_path);
