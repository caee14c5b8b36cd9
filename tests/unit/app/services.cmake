# Unit tests of the services.
add_library(smpl_svc_fake STATIC svc_change.c svc_fake.c)
target_link_libraries(smpl_svc_fake PRIVATE smpl_flags PkgConfig::CMOCKA PUBLIC smpl_services PkgConfig::UV PkgConfig::JANSSON)
foreach(name account_store answers key_store keys sister_store storage jsonapi config flags keycheck rates reading restore revocations sister shares)
  smpl_unit_test(test_svc_${name} SOURCES test_svc_${name}.c LIBS smpl_services smpl_svc_fake)
endforeach()
foreach(name outbox sister_watch)
  smpl_unit_test(test_svc_${name} SOURCES test_svc_${name}.c svc_outbox.c LIBS smpl_services smpl_svc_fake)
endforeach()
foreach(name outbox sister_watch storage) # the clock moves as the test says
  target_link_options(test_svc_${name} PRIVATE -Wl,--wrap=clock_mono_ms)
endforeach()
target_link_libraries(test_svc_config PRIVATE PkgConfig::SQLITE)
target_link_options(test_svc_config PRIVATE -Wl,--wrap=sqlite3_step) # its work is counted
target_link_libraries(test_svc_restore PRIVATE PkgConfig::SQLITE)
target_link_options(test_svc_restore PRIVATE -Wl,--wrap=sqlite3_backup_step) # its steps are counted
target_link_options(test_svc_outbox PRIVATE -Wl,--wrap=sister_log_news)
# A store that answers later stands in the place of the services' own, and the account service is played.
smpl_unit_test(test_svc_store SOURCES test_svc_store.c svc_late.c LIBS smpl_services smpl_svc_fake)
target_link_options(test_svc_store PRIVATE -Wl,--wrap=stores_open -Wl,--wrap=sisters_call)
