# The services: everything behind app/http/handler.h. Included by app/CMakeLists.txt.
configure_file(services/api_files.S.in ${CMAKE_CURRENT_BINARY_DIR}/api_files.S @ONLY)
set_source_files_properties(${CMAKE_CURRENT_BINARY_DIR}/api_files.S PROPERTIES OBJECT_DEPENDS
  "${CMAKE_CURRENT_SOURCE_DIR}/accounts/accounts_api.json;${CMAKE_CURRENT_SOURCE_DIR}/config/config_api.json;${CMAKE_CURRENT_SOURCE_DIR}/flags/flags_api.json;${CMAKE_CURRENT_SOURCE_DIR}/services/tenants_api.json;${CMAKE_CURRENT_SOURCE_DIR}/services/common_api.json")
add_library(smpl_services STATIC ${CMAKE_CURRENT_BINARY_DIR}/api_files.S
  services/answers.c services/backup.c services/data_file.c services/data_lock.c services/restore.c services/tool.c services/caller.c services/change.c services/ident.c services/identity.c services/jsonapi.c services/keycheck.c
  services/listing.c services/problem.c services/rates.c services/product.c services/resource.c services/rows.c services/sister.c services/sister_url.c services/storage.c
  services/shares.c services/strangers.c services/storage_db.c services/tenants.c
  accounts/accounts.c accounts/account_notices.c accounts/account_tool.c accounts/account_store.c accounts/api_keys.c accounts/key_store.c
  accounts/outbox.c accounts/revocations.c accounts/sister_store.c accounts/sister_watch.c
  config/config.c config/config_line.c config/config_rules.c config/config_store.c
  flags/flags.c flags/flag_rules.c flags/flag_store.c)
target_link_libraries(smpl_services PRIVATE smpl_flags PUBLIC
  smpl_app_json smpl_app_keys smpl_common PkgConfig::UV PkgConfig::JANSSON PkgConfig::SQLITE PkgConfig::CURL PkgConfig::CRYPTO)
