//! A client that writes and watches through the endpoint, while something is done to the cluster.

use super::harness::Lab;

/// Makes object after object, and makes once more what failed. Says `well again lost` after each.
const WRITER: &str = r#"
n=0 well=0 again=0 lost=0
k="kubectl --kubeconfig /run/admin.conf --request-timeout=8s"
make() { said=$($k create configmap "watched-$1" 2>&1); }
while [ ! -e /run/stop ]; do
    n=$((n + 1))
    if make $n; then well=$((well + 1))
    # That it is there already says that only the answer was lost.
    elif echo "$n: $said" >>/run/failed; sleep 1; make $n || case $said in *"already exists"*) ;; *) false ;; esac; then again=$((again + 1))
    else lost=$((lost + 1)); fi
    echo "$well $again $lost" >/run/writes.partial; mv /run/writes.partial /run/writes
    sleep 0.3
done
"#;

/// Watches, and watches again when the API server that it asked is gone.
const WATCHER: &str = r#"
while [ ! -e /run/stop-watch ]; do
    echo begun >>/run/watches
    kubectl --kubeconfig /run/admin.conf get configmaps --watch --no-headers -o custom-columns=NAME:.metadata.name >>/run/seen
    sleep 0.2
done
"#;

pub struct Watch<'a> {
    lab: &'a Lab,
}

impl<'a> Watch<'a> {
    /// Starts the client on w1, which reaches the API as that node does.
    pub fn start(lab: &'a Lab) -> Self {
        let this = Self { lab };
        // There may have been one before.
        lab.must("w1", "cd /run && rm -f stop stop-watch writes failed watches seen");
        let k = "kubectl --kubeconfig /etc/kubernetes/admin.conf";
        lab.must("cp1", &format!("{k} get configmaps -o name | grep /watched- | xargs -r {k} delete"));
        let file = |name: &str, text: &str| {
            lab.must("w1", &format!("umask 077; cat >/run/{name} <<'EOF'\n{text}\nEOF"));
        };
        this.follow();
        for (name, text) in [("writer", WRITER), ("watcher", WATCHER)] {
            file(&format!("{name}.sh"), text);
            let run = "systemd-run --quiet --setenv=PATH=\"$PATH:/usr/local/bin\"";
            lab.must("w1", &format!("{run} --unit lab-{name} sh /run/{name}.sh"));
        }
        lab.until("w1", "the first object to be seen by the watch", 30, "grep -m1 watched- /run/seen");
        this
    }

    /// Gives it the kubeconfig that administrators have now, as people are told to.
    pub fn follow(&self) {
        let (ok, admin) = self.lab.exec("cp1", "cat /etc/kubernetes/admin.conf");
        assert!(ok);
        let put =
            format!("umask 077; cat >/run/admin.partial <<'EOF'\n{admin}\nEOF\nmv /run/admin.partial /run/admin.conf");
        self.lab.must("w1", &put);
    }

    /// Ends it: one retry cured each request that failed, and every object that was written was seen.
    pub fn end(self) {
        self.lab.must("w1", "touch /run/stop");
        self.lab.until("w1", "the end of the writer", 60, "! systemctl is-active lab-writer");
        let (_, writes) = self.lab.exec("w1", "cat /run/writes");
        let counts: Vec<u32> = writes.split_whitespace().map(|n| n.parse().unwrap()).collect();
        let [well, again, lost] = counts.as_slice() else { panic!("{writes}") };
        let made = well + again + lost;
        let last = format!("grep -x watched-{made} /run/seen || {{ tail -n 3 /run/seen; exit 1; }}");
        self.lab.until("w1", "the last object to be seen by the watch", 30, &last);
        let (_, unseen) = self
            .lab
            .exec("w1", &format!("for n in $(seq {made}); do grep -qx watched-$n /run/seen || echo watched-$n; done"));
        let (_, failed) = self.lab.exec("w1", "cat /run/failed 2>/dev/null");
        let (_, watches) = self.lab.exec("w1", "grep -c begun /run/watches");
        self.lab.must("w1", "touch /run/stop-watch; systemctl stop lab-watcher");
        println!(
            "   written at the first try: {well}, at the second: {again}, lost: {lost}; watches: {}; not seen: {}",
            watches.trim(),
            unseen.lines().count()
        );
        assert!(*well > 20 && *lost == 0, "writes were lost: {failed}");
        assert_eq!(unseen.trim(), "", "the watch did not show all");
    }
}
