#!/bin/sh
# Makes the lab's parts from Debian's packages: the seven Kubernetes binaries from Debian's source package, the rest
# from binary packages, laid out as the upstream sites lay them out, and images as one OCI layout.
# Usage: debian.sh CACHE RECIPE VERSION [DIST]   (CACHE is ours alone; RECIPE names this script's own version; VERSION is
# the stamp, like 1.20.2; DIST is a directory with the seven Kubernetes binaries, and perhaps etcd, etcdctl, etcdutl,
# containerd, ctr, containerd-shim-runc-v2, coredns, crictl and pause, that are taken in place of Debian's or beside them)
# Every part is made in a partial place and renamed when whole, so an interrupted run goes on where it was.
set -eu
cache=$1 recipe=$2 version=$3 dist=${4:-}
# What is in DIST names its cache: other binaries at the same path are other parts.
[ -z "$dist" ] || cache=$cache/dist-$(stat -Lc '%n %s %Y' "$dist"/* | sha256sum | cut -c1-12)
mkdir -p "$cache"
export LC_ALL=C DEBIAN_FRONTEND=noninteractive
suite=bookworm
keyring=/usr/share/keyrings/debian-archive-keyring.gpg
mirror=$(sed -n 's/^URIs: *\([^ ]*\).*/\1/p; s/^deb \(\[[^]]*\] \)\?\([^ ]*\) .*/\2/p' /etc/apt/sources.list /etc/apt/sources.list.d/debian.sources 2>/dev/null | grep -m1 debian) ||
    { echo "lab: no Debian mirror in /etc/apt/sources.list or sources.list.d/debian.sources" >&2; exit 1; }
say() { echo "lab: $*" >&2; }
# Two runs with one cache would remove each other's partial files.
exec 9>"$cache/.lock"
flock -n 9 || { say "wait for another \`lab up\` that makes the same parts"; flock 9; }

# 1. Kubernetes, from Debian's source package: it is the whole vendored tree.
bins=$cache/kubernetes-$version
if [ -n "$dist" ] && [ ! -e "$bins/.ready" ]; then
    rm -rf "$bins" && mkdir -p "$bins"
    for b in kubeadm kubelet kubectl kube-apiserver kube-controller-manager kube-scheduler kube-proxy; do install -m 755 "$dist/$b" "$bins/$b"; done
    touch "$bins/.ready"
fi
src=$cache/kubernetes-src
if [ -z "$dist" ] && [ ! -e "$src/.ready" ]; then
    say "fetch Debian's source package kubernetes (once)"
    rm -rf "$src" && mkdir -p "$src/lists/partial"
    echo "deb-src [signed-by=$keyring] $mirror $suite main" >"$src/sources.list"
    apt="apt-get -q -o Dir::Etc::sourcelist=$src/sources.list -o Dir::Etc::sourceparts=- -o Dir::State::lists=$src/lists -o APT::Sandbox::User=root"
    $apt update >&2
    (cd "$src" && $apt source --download-only kubernetes >&2 && dpkg-source --no-check -x kubernetes_*.dsc tree >&2)
    # The vendored reflect2 panics under Go 1.18 and newer; Debian's package of it does not.
    rm -rf "$src/tree/vendor/github.com/modern-go/reflect2"
    cp -r /usr/share/gocode/src/github.com/modern-go/reflect2 "$src/tree/vendor/github.com/modern-go/reflect2"
    touch "$src/.ready"
fi
# Binaries that say another version than their name were stamped wrong, and so is all that was made of them.
if [ -z "$dist" ] && [ -e "$bins/.ready" ] && [ "$("$bins/kubeadm" version -o short)" != "v$version" ]; then
    rm -rf "$bins" "$cache/www-$version" "$cache/www-$version-"* "$cache/images-$version" "$cache/images-$version-"*
fi
if [ ! -e "$bins/.ready" ]; then
    say "build Kubernetes $version from source (6 to 15 minutes on 2 cores, once)"
    minor=${version#*.} && minor=${minor%%.*}
    what="cmd/kubeadm cmd/kubelet cmd/kubectl cmd/kube-apiserver cmd/kube-controller-manager cmd/kube-scheduler cmd/kube-proxy"
    # The source was exported from git and names its own version, which goes before the environment, but not before a file.
    printf "KUBE_GIT_VERSION='v%s'\nKUBE_GIT_COMMIT='unknown'\nKUBE_GIT_TREE_STATE='clean'\nKUBE_GIT_MAJOR='1'\nKUBE_GIT_MINOR='%s'\n" \
        "$version" "$minor" >"$src/version"
    (cd "$src/tree" && env GO111MODULE=off FORCE_HOST_GO=y CGO_ENABLED=0 GOFLAGS=-trimpath GOCACHE="$cache/go-build" \
        KUBE_GIT_VERSION_FILE="$src/version" make WHAT="$what" >&2)
    rm -rf "$bins.partial" && mkdir -p "$bins.partial"
    for b in $what; do
        strip -o "$bins.partial/${b#cmd/}" "$src/tree/_output/bin/${b#cmd/}" 2>/dev/null ||
            cp "$src/tree/_output/local/go/bin/${b#cmd/}" "$bins.partial/"
    done
    touch "$bins.partial/.ready"
    rm -rf "$bins" && mv "$bins.partial" "$bins"
fi

# 2. Everything else, from Debian's binary packages in one root file system.
parts=$cache/parts-$recipe
if [ ! -e "$parts/.ready" ]; then
    say "install containerd, runc, CNI plugins, etcd, haproxy, busybox into a root file system (1 minute, once)"
    rm -rf "$parts"
    mmdebstrap --variant=minbase --skip=check/empty \
        --include=containerd,runc,containernetworking-plugins,etcd-server,etcd-client,haproxy,busybox,iptables,conntrack,ipset,kmod \
        "$suite" "$parts" "$mirror" >&2
    # Programs of one release belong together: nothing of Debian's stays beside those of DIST.
    if [ -n "$dist" ] && [ -e "$dist/containerd" ]; then rm -f "$parts"/usr/bin/containerd* "$parts/usr/bin/ctr"; fi
    if [ -n "$dist" ] && [ -e "$dist/etcd" ]; then rm -f "$parts"/usr/bin/etcd*; fi
    for b in etcd etcdctl etcdutl containerd ctr containerd-shim-runc-v2 coredns crictl pause; do
        if [ -n "$dist" ] && [ -e "$dist/$b" ]; then install -m 755 "$dist/$b" "$parts/usr/bin/$b"; fi
    done
    touch "$parts/.ready"
fi
upstream_version() { chroot "$parts" dpkg-query -W -f '${Version}' "$1" | sed 's/^[0-9]*://; s/[~+-].*//'; }
runc_v=$(upstream_version runc) cni_v=$(upstream_version containernetworking-plugins)
# These may be DIST's: the programs themselves know.
containerd_v=$(chroot "$parts" containerd --version | sed 's/^[^ ]* [^ ]* v\{0,1\}//; s/[~+ -].*//')
etcd_v=$(chroot "$parts" etcd --version | sed -n 's/^etcd Version: //p')
crictl_v=
[ ! -e "$parts/usr/bin/crictl" ] || crictl_v=$(chroot "$parts" crictl --version | sed 's/^[^ ]* [^ ]* v\{0,1\}//; s/[+ ].*//')
lacks() { echo "lab: $dist has no $1: $2" >&2; exit 1; }
[ -e "$parts/usr/bin/etcdctl" ] || lacks etcdctl "etcd and etcdctl of one release belong together"
etcd_minor=${etcd_v#3.} && etcd_minor=${etcd_minor%%.*}
[ "$etcd_minor" -lt 6 ] || [ -e "$parts/usr/bin/etcdutl" ] ||
    lacks etcdutl "from etcd 3.6 on it does what etcdctl did with snapshots; it is in the archive of etcd's release"
for b in ctr containerd-shim-runc-v2; do
    [ -e "$parts/usr/bin/$b" ] || lacks $b "it belongs to containerd's release"
done
etcd_programs="etcd etcdctl"
[ ! -e "$parts/usr/bin/etcdutl" ] || etcd_programs="$etcd_programs etcdutl"
# The names of the images, as this kubeadm itself asks for them.
listed=$("$bins/kubeadm" config images list --kubernetes-version "v$version" --image-repository registry.k8s.io 2>/dev/null)
# image_name NAME: with its tag and without its registry, like coredns/coredns:v1.13.1
image_name() { printf '%s\n' "$listed" | sed -n "s#^registry.k8s.io/\(\(.*/\)\{0,1\}$1:.*\)#\1#p"; }
pause_image=$(image_name pause) coredns_image=$(image_name coredns) etcd_image=$(image_name etcd)
for i in "pause $pause_image" "coredns $coredns_image" "etcd $etcd_image"; do
    [ "${i#* }" ] || { echo "lab: kubeadm $version lists no image of ${i% }: $listed" >&2; exit 1; }
done
# An etcd that is not the release that kubeadm asks for goes by a tag of its own.
etcd_image_tag=
case $etcd_image in "etcd:$etcd_v-"*) ;; *) etcd_image_tag=$etcd_v-0 etcd_image=etcd:$etcd_image_tag ;; esac

# 3. The upstream sites' trees, with their checksum files in the form each publishes.
www=$cache/www-$version-$recipe
if [ ! -e "$www/.ready" ]; then
    say "lay out the download sites for $version (half a minute, once)"
    rm -rf "$www.partial" && mkdir -p "$www.partial" && cd "$www.partial"
    pack() { # OUT DIR: a reproducible tar of everything in DIR
        tar --force-local --sort=name --mtime=@0 --owner=0 --group=0 --numeric-owner -C "$2" -cf - . | gzip -n -1 >"$1"
    }
    sum() { sha256sum "$1" | cut -d' ' -f1; }
    d=k8s/release/v$version/bin/linux/amd64 && mkdir -p "$d"
    for b in kubeadm kubelet kubectl; do cp "$bins/$b" "$d/$b" && sum "$d/$b" | tr -d '\n' >"$d/$b.sha256"; done
    d=containerd/v$containerd_v f=containerd-$containerd_v-linux-amd64.tar.gz && mkdir -p "$d" tmp/bin
    cp "$parts"/usr/bin/containerd "$parts"/usr/bin/containerd-shim* "$parts"/usr/bin/ctr tmp/bin/
    pack "$d/$f" tmp && (cd "$d" && sha256sum "$f" >"$f.sha256sum") && rm -rf tmp
    d=runc/v$runc_v && mkdir -p "$d" && cp "$parts/usr/sbin/runc" "$d/runc.amd64" &&
        (cd "$d" && sha256sum runc.amd64 >runc.sha256sum && echo "$(printf %064d 0)  runc.arm64" >>runc.sha256sum)
    d=cni/v$cni_v f=cni-plugins-linux-amd64-v$cni_v.tgz && mkdir -p "$d" tmp
    cp "$parts"/usr/lib/cni/* tmp/ && pack "$d/$f" tmp && (cd "$d" && sha256sum "$f" >"$f.sha256") && rm -rf tmp
    d=etcd/v$etcd_v f=etcd-v$etcd_v-linux-amd64 && mkdir -p "$d" "tmp/$f"
    for b in $etcd_programs; do cp "$parts/usr/bin/$b" "tmp/$f/"; done
    pack "$d/$f.tar.gz" tmp && (cd "$d" && sha256sum "$f.tar.gz" >SHA256SUMS) && rm -rf tmp
    if [ -n "$crictl_v" ]; then
        d=crictl/v$crictl_v f=crictl-v$crictl_v-linux-amd64.tar.gz && mkdir -p "$d" tmp
        cp "$parts/usr/bin/crictl" tmp/ && pack "$d/$f" tmp && sum "$d/$f" | tr -d '\n' >"$d/$f.sha256" && rm -rf tmp
    fi
    touch .ready && cd / && rm -rf "$www" && mv "$www.partial" "$www"
fi

# 4. Images: one OCI layout that skopeo fills the lab's registry from. No times inside: the same parts, the same digests.
images=$cache/images-$version-$recipe
if [ ! -e "$images/.ready" ]; then
    say "assemble the images for $version (half a minute, once)"
    rm -rf "$images.partial" && mkdir -p "$images.partial/blobs/sha256" && cd "$images.partial"
    echo '{"imageLayoutVersion":"1.0.0"}' >oci-layout
    : >entries
    blob() { # FILE: moves it among the blobs, prints its digest
        d=$(sha256sum "$1" | cut -d' ' -f1) && mv "$1" "blobs/sha256/$d" && echo "$d"
    }
    # image NAME ENTRYPOINT: packs ./root
    image() {
        mkdir -p root/tmp root/etc && chmod 1777 root/tmp
        [ -e root/etc/passwd ] || printf 'root:x:0:0:root:/root:/sbin/nologin\nnobody:x:65534:65534:nobody:/:/sbin/nologin\n' >root/etc/passwd
        tar --sort=name --mtime=@0 --owner=0 --group=0 --numeric-owner -C root -cf layer.tar . && rm -rf root
        diff=$(sha256sum layer.tar | cut -d' ' -f1)
        gzip -n -1 layer.tar && size=$(stat -c %s layer.tar.gz) && layer=$(blob layer.tar.gz)
        printf '{"architecture":"amd64","os":"linux","config":{"Entrypoint":%s,"Env":["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"]},"rootfs":{"type":"layers","diff_ids":["sha256:%s"]}}' "$2" "$diff" >config
        csize=$(stat -c %s config) && config=$(blob config)
        printf '{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","config":{"mediaType":"application/vnd.oci.image.config.v1+json","digest":"sha256:%s","size":%s},"layers":[{"mediaType":"application/vnd.oci.image.layer.v1.tar+gzip","digest":"sha256:%s","size":%s}]}' "$config" "$csize" "$layer" "$size" >manifest
        msize=$(stat -c %s manifest) && manifest=$(blob manifest)
        printf '{"mediaType":"application/vnd.oci.image.manifest.v1+json","digest":"sha256:%s","size":%s,"annotations":{"org.opencontainers.image.ref.name":"%s"}}\n' "$manifest" "$msize" "$1" >>entries
    }
    # with_libs FILE...: copies files and the shared libraries they need out of the root file system
    with_libs() {
        for f in "$@"; do
            mkdir -p "root$(dirname "$f")" && cp -L "$parts$f" "root$f"
            for l in $(chroot "$parts" ldd "$f" 2>/dev/null | grep -o '/[^ ]*'); do
                mkdir -p "root$(dirname "$l")" && cp -L "$parts$l" "root$l"
            done
        done
    }
    for b in kube-apiserver kube-controller-manager kube-scheduler; do
        mkdir -p root/usr/local/bin && cp "$bins/$b" root/usr/local/bin/ && image "$b:v$version" "[\"/usr/local/bin/$b\"]"
    done
    mkdir -p root/usr/local/bin && cp "$bins/kube-proxy" root/usr/local/bin/
    with_libs /usr/sbin/xtables-nft-multi /usr/sbin/conntrack /usr/sbin/ipset /bin/kmod
    for x in "$parts"/usr/lib/x86_64-linux-gnu/xtables/*.so; do with_libs "${x#"$parts"}"; done
    for t in iptables iptables-save iptables-restore ip6tables ip6tables-save ip6tables-restore; do
        ln -s xtables-nft-multi "root/usr/sbin/$t"
    done
    cp -L "$parts/etc/protocols" "$parts/etc/services" root/etc/ 2>/dev/null || mkdir -p root/etc
    image "kube-proxy:v$version" '["/usr/local/bin/kube-proxy"]'
    mkdir -p root/usr/local/bin
    for b in $etcd_programs; do with_libs "/usr/bin/$b" && mv "root/usr/bin/$b" root/usr/local/bin/; done
    image "$etcd_image" '["/usr/local/bin/etcd"]'
    if [ -e "$parts/usr/bin/coredns" ]; then
        with_libs /usr/bin/coredns && mv root/usr/bin/coredns root/coredns && image "$coredns_image" '["/coredns"]'
    fi
    # kubeadm's health check of an upgrade runs it with -v, as the real one may be run, and waits for its end.
    mkdir -p root
    if [ -e "$parts/usr/bin/pause" ]; then cp "$parts/usr/bin/pause" root/pause; else
        cat >pause.c <<'C'
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>
static void end(int s) { (void)s; _exit(0); }
static void reap(int s) { (void)s; while (waitpid(-1, 0, WNOHANG) > 0) {} }
int main(int n, char **a) {
    for (int i = 1; i < n; i++) if (!strcmp(a[i], "-v")) { puts("pause.c of a provision lab, in place of " PAUSE); return 0; }
    signal(SIGINT, end); signal(SIGTERM, end); signal(SIGCHLD, reap); for (;;) pause();
}
C
        gcc -Os -static -s -DPAUSE="\"$pause_image\"" -o root/pause pause.c && rm pause.c
    fi
    image "$pause_image" '["/pause"]'
    with_libs /usr/sbin/haproxy && mkdir -p root/usr/local/sbin && mv root/usr/sbin/haproxy root/usr/local/sbin/ &&
        image library/haproxy:2.6 '["/usr/local/sbin/haproxy","-f","/usr/local/etc/haproxy/haproxy.cfg"]'
    with_libs /bin/busybox && for a in sh ls cat wget httpd sleep; do ln -s busybox "root/bin/$a"; done
    image library/busybox:1.36 '["/bin/sh"]'
    printf '{"schemaVersion":2,"manifests":[%s]}' "$(paste -sd, entries)" >index.json
    touch .ready && cd / && rm -rf "$images" && mv "$images.partial" "$images"
fi

# 5. What the inventory has to know.
cat <<EOF
kubernetes=$version
containerd=$containerd_v
runc=$runc_v
cni_plugins=$cni_v
crictl=$crictl_v
coredns=$([ ! -e "$parts/usr/bin/coredns" ] || echo "$coredns_image")
etcd=$etcd_v
etcd_image_tag=$etcd_image_tag
www=$www
images=$images
EOF
