# $1 check or place; $2 the directory of what the node holds; then one word for each thing that Kubernetes finds elsewhere:
#   crt|NAME|PATH                             a certificate
#   pair|NAME|PATH                            certificate and key, PATH.crt and PATH.key
#   sa|NAME|PATH                              both keys of the service accounts, PATH.key and PATH.pub
#   conf|NAME|PATH|SERVER|USER|CLUSTER        a kubeconfig that holds certificate and key
#   link|NAME|PATH|SERVER|USER|CLUSTER|PAIR   a kubeconfig that names PAIR.crt and PAIR.key: who uses it reads them again
# `check` prints what is not as it has to be, and nothing else; keys are compared here and never printed.
mode=$1 from=$2
shift 2
umask 077
one() { base64 <"$1" | tr -d '\n'; }
config() {
    if [ -n "$5" ]; then
        auth=$(printf '    client-certificate: %s.crt\n    client-key: %s.key' "$5" "$5")
    else
        auth=$(printf '    client-certificate-data: %s\n    client-key-data: %s' "$(one "$from/$1.crt")" "$(one "$from/$1.key")")
    fi
    cat <<YAML
apiVersion: v1
kind: Config
preferences: {}
clusters:
- name: $4
  cluster:
    server: $2
    certificate-authority-data: $(one "$from/ca.crt")
users:
- name: $3
  user:
$auth
contexts:
- name: $3@$4
  context:
    cluster: $4
    user: $3
current-context: $3@$4
YAML
}
# $1 path, $2 permissions; the content on standard input.
put() {
    if [ "$mode" = check ]; then
        [ "$(sha256sum)" = "$(sha256sum 2>/dev/null <"$1")" ] && [ "$(stat -c '%a %u' "$1")" = "$2 0" ] || echo "$1"
    else
        (umask 022 && mkdir -p "${1%/*}") && cat >"$1.provision-partial" && chown 0:0 "$1.provision-partial" &&
            chmod "$2" "$1.provision-partial" && sync "$1.provision-partial" && mv -f "$1.provision-partial" "$1" || exit 1
    fi
}
missing() {
    echo "$from/$1 is not there"
    [ "$mode" = check ] || exit 1
}
for word; do
    IFS='|' read -r kind name path server user cluster pair <<LINE
$word
LINE
    case $kind in
    crt) needs=crt ;;
    sa) needs='key pub' ;;
    *) needs='key crt' ;;
    esac
    for ending in $needs; do
        [ -s "$from/$name.$ending" ] || { missing "$name.$ending"; continue 2; }
    done
    case $kind in
    crt) put "$path" 644 <"$from/$name.crt" ;;
    sa) put "$path.key" 600 <"$from/$name.key" && put "$path.pub" 600 <"$from/$name.pub" ;;
    pair) put "$path.key" 600 <"$from/$name.key" && put "$path.crt" 644 <"$from/$name.crt" ;;
    conf | link) config "$name" "$server" "$user" "$cluster" "$pair" | put "$path" 600 ;;
    esac || exit 1
done
