# apply:rotation-place-key
# Makes $1 the CA's key $2.
umask 077
cp -p -- "$1" "$2.provision-partial" && sync "$2.provision-partial" && mv -f -- "$2.provision-partial" "$2"
