//! The commands by which nodes leave, on machines in memory.

use provision::bundle::BundleManifest;
use provision::error::Result;
use provision::facts::{Standing, standing};
use provision::host::{Connector as _, FakeCluster, FakeConnector};
use provision::inventory::Inventory;
use provision::plan::{Order, Stage, beyond, has_joined, may_replace, nobody_answers, order, removal, without};

use super::world::{Hosts, connect, drains, execute, plan};

/// What `node remove` and `node replace` do, without a person to ask.
pub struct Command<'a> {
    pub fake: &'a FakeCluster,
    pub inv: &'a Inventory,
    pub bundle: &'a BundleManifest,
    pub names: Vec<String>,
    pub joins: Option<&'a str>,
}

impl Command<'_> {
    async fn hosts(&self) -> Result<Hosts> {
        let mut hosts = connect(self.fake, &without(self.inv, &self.names)?).await?;
        for node in self.inv.nodes().iter().filter(|n| self.names.contains(&n.name)) {
            if let Ok(host) = FakeConnector(self.fake.clone()).connect(node).await {
                hosts.insert(node.name.clone(), host);
            }
        }
        Ok(hosts)
    }

    async fn standing(&self, hosts: &Hosts) -> Result<Standing> {
        let rest = without(self.inv, &self.names)?;
        standing(&rest, hosts, &self.names, 5).await?.ok_or_else(|| nobody_answers(false))
    }

    async fn settle(&self, hosts: &Hosts, gone: &[String]) -> Result<()> {
        let rest = without(self.inv, gone)?;
        let mut hosts = hosts.clone();
        hosts.retain(|name, _| rest.hosts.iter().any(|h| h.name == *name));
        let steps = plan(&rest, self.bundle, &hosts).await?;
        beyond(&steps, self.joins)?;
        execute(&rest, hosts, steps).await
    }

    async fn carry_out(&self, hosts: &Hosts, stages: Vec<Stage>) -> Result<()> {
        for stage in stages {
            match stage {
                Stage::Steps(steps) => execute(self.inv, hosts.clone(), steps).await?,
                Stage::Settle { without } => self.settle(hosts, &without).await?,
            }
        }
        Ok(())
    }

    pub async fn run(&self) -> Result<()> {
        self.fake.world().may_go.extend(self.names.iter().cloned());
        let hosts = self.hosts().await?;
        if let Some(new) = self.joins {
            let old = self.names[0].as_str();
            let seen = self.standing(&hosts).await?;
            may_replace(self.inv, &seen, old, new)?;
            if let Order::JoinFirst { without, first } = order(self.inv, &seen, old) {
                self.carry_out(&hosts, vec![Stage::Steps(first), Stage::Settle { without }]).await?;
                has_joined(self.inv, &self.standing(&hosts).await?, old, new)?;
            } else if !seen.knows(self.inv, old) {
                return self.settle(&hosts, &self.names).await;
            }
        }
        let seen = self.standing(&hosts).await?;
        let mut stages = removal(self.inv, &seen, &self.names)?;
        for stage in &mut stages {
            if let Stage::Steps(steps) = stage {
                drains(self.inv, &hosts, steps).await?;
            }
        }
        self.carry_out(&hosts, stages).await
    }
}
