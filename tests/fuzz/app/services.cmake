# Bodies as clients send them, against the rules of configs and flags.
smpl_fuzz_target(fuzz_svc_bodies SOURCES fuzz_svc_bodies.c LIBS smpl_services smpl_app_front
  CORPUS tests/fuzz/app/corpus/fuzz_svc_bodies)
