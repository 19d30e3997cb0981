#!/usr/bin/env bash
# Makes what the processes of one control plane share, in deploy/keys or the directory named: keys that seal, an authority of
# their own, and a certificate for each role. What is there already stays: a sealing key that is lost takes with it what it sealed.
# Needs openssl. The authority's own key is used by nobody who runs: keep it elsewhere.
set -euo pipefail
dir="${1:-$(dirname "$0")/keys}"
mkdir -p "$dir"
# The directory keeps others out; containers, whose user is another one, see single files.
chmod 0700 "$dir"
cd "$dir"

for name in token secret; do
    [ -e "$name.key" ] || { head -c 32 /dev/urandom | od -An -tx1 -v | tr -d ' \n' >"$name.key.partial" && mv "$name.key.partial" "$name.key"; }
done

if [ ! -e ca.pem ]; then
    openssl ecparam -name prime256v1 -genkey -noout -out ca.key
    openssl req -x509 -new -key ca.key -days 3650 -subj "/CN=taskplane internal" -out ca.pem \
        -addext "basicConstraints=critical,CA:TRUE" -addext "keyUsage=critical,keyCertSign,cRLSign"
fi

for role in api executor; do
    [ ! -e "$role.pem" ] || continue
    openssl ecparam -name prime256v1 -genkey -noout | openssl pkcs8 -topk8 -nocrypt -out "$role.key"
    openssl req -new -key "$role.key" -subj "/CN=taskplane $role" -out "$role.csr"
    printf '%s\n' "subjectAltName=DNS:$role.taskplane" "extendedKeyUsage=serverAuth,clientAuth" "basicConstraints=critical,CA:FALSE" >"$role.ext"
    openssl x509 -req -in "$role.csr" -CA ca.pem -CAkey ca.key -CAcreateserial -days 365 -extfile "$role.ext" -out "$role.pem" 2>/dev/null
    rm -f "$role.csr" "$role.ext"
done
chmod 0644 ./*.pem token.key secret.key api.key executor.key
chmod 0600 ca.key
echo "keys: $dir"
