/* smpl-tunnel: local ports that lead through a bastion. */
#include <libssh/libssh.h>
#include <stdio.h>

#include "common/error.h"
#include "common/harden.h"
#include "tunnel/interrupt.h"
#include "tunnel/options.h"
#include "tunnel/tunnel.h"

int main(int argc, char **argv)
{
  harden_process();
  if (interrupt_start() != SMPL_OK || ssh_init() != SSH_OK) {
    fputs("smpl-tunnel: cannot start: signals or libssh\n", stderr);
    return EXIT_OTHER;
  }
  options_t options;
  diag_t diag = {0};
  bool in_file;
  exit_code_t code = EXIT_ENDED;
  bool fine = options_read(argc, argv, &options, &in_file, &diag) == SMPL_OK;
  say_t say = {options.json, options.quiet, options.verbose};
  if (!fine) {
    code = in_file ? EXIT_OTHER : EXIT_USAGE;
    say_end(&say, code, NULL, diag.text);
  } else if (options.help) {
    fputs(options_usage(), stdout);
  } else if (options.version) {
    puts("smpl-tunnel " SMPL_VERSION);
  } else {
    code = tunnel_run(&options, &say);
  }
  options_free(&options);
  return code;
}
