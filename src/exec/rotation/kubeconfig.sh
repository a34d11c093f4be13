# apply:rotation-kubeconfig
# Gives the kubeconfig $1 the CAs, and with a second line the client certificate, that come on stdin as base64. Its key
# stays.
umask 077
new=$1.provision-partial
read -r ca || exit 1
read -r cert || cert=
cp -p -- "$1" "$new" || exit 1
sed -e "s|^\( *certificate-authority-data: \).*|\1$ca|" ${cert:+-e "s|^\( *client-certificate-data: \).*|\1$cert|"} "$1" >"$new" || exit 1
sync "$new" && mv -f -- "$new" "$1"
