"""Technologies behind `ports.directory`: LDAP over TLS by ldap3."""
