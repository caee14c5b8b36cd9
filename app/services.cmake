# The services: everything behind app/http/handler.h. Included by app/CMakeLists.txt.
configure_file(services/api_files.S.in ${CMAKE_CURRENT_BINARY_DIR}/api_files.S @ONLY)
set_source_files_properties(${CMAKE_CURRENT_BINARY_DIR}/api_files.S PROPERTIES OBJECT_DEPENDS
  "${CMAKE_CURRENT_SOURCE_DIR}/accounts/accounts_api.json;${CMAKE_CURRENT_SOURCE_DIR}/config/config_api.json;${CMAKE_CURRENT_SOURCE_DIR}/flags/flags_api.json;${CMAKE_CURRENT_SOURCE_DIR}/services/tenants_api.json;${CMAKE_CURRENT_SOURCE_DIR}/services/common_api.json")

# What is stored, and the rules of it that hold wherever.
add_library(smpl_store STATIC
  store/accounts.c store/config_rules.c store/edit.c store/fetch.c store/flag_rules.c store/ident.c
  store/identity.c store/jsonapi.c store/problem.c store/store.c)
target_link_libraries(smpl_store PRIVATE smpl_flags PUBLIC
  smpl_app_json smpl_app_keys smpl_common PkgConfig::JANSSON PkgConfig::CRYPTO)

# The store in one SQLite file. Each NAME.sql is cut into constants for NAME.c.
set(sql_files account_notices account_store account_tool config_line config_store flag_store identity_store
  key_store outbox_store revocation_store sister_store tenant_store)
set(sql_headers)
find_program(AWK awk REQUIRED)
foreach(name ${sql_files})
  set(sql ${CMAKE_CURRENT_SOURCE_DIR}/store/sqlite/${name}.sql)
  set(header ${CMAKE_CURRENT_BINARY_DIR}/sql/app/store/sqlite/${name}.sql.h)
  add_custom_command(OUTPUT ${header}
    COMMAND ${AWK} -f ${CMAKE_CURRENT_SOURCE_DIR}/store/sqlite/cut.awk ${sql} > ${header}
    DEPENDS ${sql} store/sqlite/cut.awk
    COMMENT "Cutting ${name}.sql" VERBATIM)
  list(APPEND sql_headers ${header})
endforeach()
file(MAKE_DIRECTORY ${CMAKE_CURRENT_BINARY_DIR}/sql/app/store/sqlite)
add_library(smpl_store_sqlite STATIC ${sql_headers}
  store/sqlite/account_notices.c store/sqlite/account_store.c store/sqlite/account_tool.c
  store/sqlite/accounts_sqlite.c store/sqlite/backup.c store/sqlite/config_line.c store/sqlite/config_store.c
  store/sqlite/data_file.c store/sqlite/data_lock.c store/sqlite/documents.c store/sqlite/file.c
  store/sqlite/flag_store.c store/sqlite/identity_store.c store/sqlite/key_store.c store/sqlite/outbox_store.c
  store/sqlite/restore.c store/sqlite/revocation_store.c store/sqlite/rows.c store/sqlite/shares.c
  store/sqlite/sister_store.c store/sqlite/sqlite.c store/sqlite/storage.c store/sqlite/storage_db.c
  store/sqlite/tenant_store.c store/sqlite/tool.c)
target_include_directories(smpl_store_sqlite PRIVATE ${CMAKE_CURRENT_BINARY_DIR}/sql)
target_link_libraries(smpl_store_sqlite PRIVATE smpl_flags PUBLIC smpl_store PkgConfig::UV PkgConfig::SQLITE)

add_library(smpl_services STATIC ${CMAKE_CURRENT_BINARY_DIR}/api_files.S
  services/answers.c services/caller.c services/change.c services/keycheck.c
  services/product.c services/query.c services/rates.c services/reading.c services/reply.c services/resource.c services/sister.c
  services/sister_url.c services/stores.c services/strangers.c services/tenants.c
  accounts/account_tool.c accounts/accounts.c accounts/api_keys.c accounts/outbox.c
  accounts/revocation_writer.c accounts/sister_news.c accounts/sister_watch.c
  config/config.c
  flags/flags.c)
target_link_libraries(smpl_services PRIVATE smpl_flags PUBLIC
  smpl_store_sqlite smpl_app_json smpl_app_keys smpl_common PkgConfig::UV PkgConfig::JANSSON PkgConfig::CURL
  PkgConfig::CRYPTO)
