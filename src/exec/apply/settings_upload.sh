# apply:upload-settings
# Gives the cluster's own configuration what $1 (a file of kubeadm's) says; CoreDNS too when $2 is yes, and first: that it
# was done is told by what is written after it.
export PATH=$PATH:/usr/local/bin KUBECONFIG=/etc/kubernetes/admin.conf
if [ "$2" = yes ]; then kubeadm init phase addon coredns --config "$1" || exit; fi
kubeadm init phase upload-config all --config "$1"
