//! Who can read backups.

use super::calendar;
use super::judge::{at, under};
use crate::backup::recipient;
use crate::inventory::model::{EtcdMode, Inventory};
use crate::inventory::tree::Finding;

pub(super) fn check(inventory: &Inventory, found: &mut Vec<Finding>) {
    let backup = &inventory.backup;
    let recipients = at(["backup", "recipients"]);
    for (index, text) in backup.recipients.iter().enumerate() {
        if recipient(text).is_none() {
            let mut finding = Finding::error(
                under(&recipients, index),
                "this is not a public key of age",
                "write what `age-keygen -y KEYFILE` prints: it begins with age1",
            );
            // Whatever stands there may be the secret half.
            finding.secret = true;
            found.push(finding);
        } else if backup.recipients.iter().take(index).any(|other| other == text) {
            found.push(Finding::error(
                under(&recipients, index),
                "this recipient is named twice",
                "remove one of the two",
            ));
        }
    }
    if !backup.recipients.is_empty() && backup.allow_unencrypted.is_some() {
        found.push(Finding::error(
            at(["backup", "allow_unencrypted"]),
            "backups cannot be both encrypted and readable by anybody",
            "remove this line, or the recipients",
        ));
    }
    if backup.keep == 0 {
        found.push(Finding::error(
            at(["backup", "keep"]),
            "to keep no backup would remove the new one too",
            "write 1 or more",
        ));
    }
    let Some(schedule) = &backup.schedule else { return };
    let mut wrong = |message: &str, help: &str| {
        found.push(Finding::error(at(["backup", "schedule"]), message, help));
    };
    if let Some(why) = calendar::wrong(schedule) {
        let message = format!("this is no calendar expression that provision takes: {why}");
        wrong(&message, "write \"daily\", or like \"02:30\", \"Mon..Fri 22:00\" or \"*-*-01 04:00 UTC\"");
    }
    if inventory.etcd.mode == EtcdMode::External {
        if inventory.etcd.hosts.is_empty() {
            wrong(
                "an etcd that somebody else runs has no schedule here",
                "remove this line; its owner takes the backups",
            );
        } else {
            let help = "remove this line, and take snapshots with `etcdctl snapshot save` on a host of etcd";
            wrong("an etcd beside Kubernetes has no schedule here", help);
        }
    }
    if backup.recipients.is_empty() && backup.allow_unencrypted.is_none() {
        wrong(
            "a backup holds every secret of the cluster, and nobody is named to encrypt it to",
            "add recipients = [\"age1...\"]: `age-keygen -o KEYFILE` makes a key and prints the recipient",
        );
    }
}
