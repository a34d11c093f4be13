# apply:rotation-keep
# Keeps the CA with certificate $2 and key $3 as $1/old.crt and $1/old.key, for root's eyes only.
umask 077
put() { cp -p -- "$1" "$2.provision-partial" && sync "$2.provision-partial" && mv -f -- "$2.provision-partial" "$2"; }
mkdir -p -- "$1" && put "$3" "$1/old.key" && put "$2" "$1/old.crt"
