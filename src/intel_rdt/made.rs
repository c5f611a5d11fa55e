//! Making the groups of a new container, and unmaking them when there is to be none.

use super::Plan;
use super::groups::Groups;
use super::tree::{Tree, in_group};
use crate::container::record::IntelRdt;
use crate::error::{Context, Error, ErrorKind, Result};
use std::rc::Rc;

/// The groups of a container that is being made. Dropped, what was made of them is removed.
#[derive(Debug)]
pub struct Made {
    groups: Rc<Groups>,
    /// Whether the control group has come by us, and the monitoring group.
    made: (bool, bool),
}

impl Made {
    /// Nothing yet: what `plan` asks for, as far as it is not there.
    ///
    /// # Errors
    /// As [`super::check`].
    pub fn nothing(plan: &Plan) -> Result<Self> {
        Self::nothing_in(Tree::needed()?, plan)
    }

    pub(super) fn nothing_in(tree: Tree, plan: &Plan) -> Result<Self> {
        tree.check(plan)?;
        // One of the same name that is there already is somebody else's.
        let own = plan.own && !tree.has(&plan.group)?;
        let record = IntelRdt { group: plan.group.clone(), own, monitor: plan.monitor.clone() };
        Ok(Self { groups: Rc::new(Groups { tree, record }), made: (false, false) })
    }

    /// What later commands must know, and `delete` even when we are killed in what follows.
    pub fn record(&self) -> &IntelRdt {
        &self.groups.record
    }

    /// The groups, for who joins them.
    pub fn groups(&self) -> &Rc<Groups> {
        &self.groups
    }

    /// Makes the groups, with the schemata of `plan`.
    pub fn make(&mut self, plan: &Plan) -> Result<()> {
        self.make_groups(plan).and_then(|()| self.configure(plan)).context("config.json: linux.intelRdt")
    }

    fn make_groups(&mut self, plan: &Plan) -> Result<()> {
        let Groups { tree, record } = &*self.groups;
        self.made.0 = !record.group.is_empty() && tree.make(&record.group)?;
        match self.made.0 {
            true => Ok(()),
            // Or the record would have `delete` remove what is not ours.
            false if record.own => {
                Err(Error::new(ErrorKind::AlreadyExists, "somebody has just made a group of that name"))
            }
            false => tree.check_existing(plan),
        }
    }

    fn configure(&mut self, plan: &Plan) -> Result<()> {
        let tree = &self.groups.tree;
        if self.made.0 {
            let file = in_group(&plan.group, "schemata");
            plan.schemata.iter().try_for_each(|part| tree.write(&file, &format!("{part}\n")))?;
        }
        if let Some(monitor) = self.groups.monitor() {
            self.made.1 = tree.make(&monitor)?;
        }
        Ok(())
    }

    /// Lets the container have them.
    pub fn keep(mut self) {
        self.made = (false, false);
    }
}

impl Drop for Made {
    fn drop(&mut self) {
        let Groups { tree, record } = &*self.groups;
        // The error that made us undo this is the one to be told.
        if let Some(monitor) = self.groups.monitor().filter(|_| self.made.1) {
            let _ = tree.remove(&monitor);
        }
        // Others may have come to share a group with a name of its own.
        let alone = || tree.read(&in_group(&record.group, "tasks")).map_or(true, |tasks| tasks.trim().is_empty());
        if self.made.0 && (record.own || alone()) {
            let _ = tree.remove(&record.group);
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::intel_rdt;
    use std::fs;
    use std::path::PathBuf;

    /// A directory with the files that resctrl has on a machine which divides L3 caches and memory bandwidth. In groups
    /// that are made later the test has to put what the kernel would, and take it out before they are removed.
    struct Fake(PathBuf);

    impl Fake {
        fn new(name: &str) -> Self {
            let fake = Self(std::env::temp_dir().join(format!("onggi-rdt-{name}-{}", std::process::id())));
            for directory in ["info/L3", "info/MB", "mon_groups", "gold/mon_groups"] {
                fs::create_dir_all(fake.0.join(directory)).unwrap();
            }
            fake.put("info/MB/bandwidth_gran", "10\n");
            fake.put("gold/tasks", "");
            fake.put("gold/schemata", "    MB:0= 20\n    L3:0=0f\n");
            fake
        }

        fn put(&self, path: &str, text: &str) {
            fs::write(self.0.join(path), text).unwrap();
        }

        /// A group as the kernel makes it.
        fn fill(&self, group: &str) {
            fs::create_dir_all(self.0.join(group).join("mon_groups")).unwrap();
            self.put(&format!("{group}/tasks"), "");
            self.put(&format!("{group}/schemata"), "");
        }

        /// Takes out of a group what the kernel would with it.
        fn empty(&self, group: &str) {
            for file in ["tasks", "schemata"] {
                drop(fs::remove_file(self.0.join(group).join(file)));
            }
            drop(fs::remove_dir(self.0.join(group).join("mon_groups")));
        }

        fn text(&self, path: &str) -> String {
            fs::read_to_string(self.0.join(path)).unwrap()
        }

        fn has(&self, path: &str) -> bool {
            self.0.join(path).exists()
        }

        fn begin(&self, plan: &Plan) -> Result<Made> {
            Made::nothing_in(Tree::at(&self.0).unwrap(), plan)
        }

        fn existing(&self, record: &IntelRdt) -> Groups {
            Groups { tree: Tree::at(&self.0).unwrap(), record: record.clone() }
        }
    }

    impl Drop for Fake {
        fn drop(&mut self) {
            drop(fs::remove_dir_all(&self.0));
        }
    }

    fn planned(text: &str) -> Plan {
        let wanted = serde_json::from_str(text).unwrap();
        intel_rdt::plan(Some(&wanted), "web").unwrap().unwrap()
    }

    #[test]
    fn a_group_of_its_own() {
        let fake = Fake::new("own");
        let plan = planned(r#"{"l3CacheSchema": "L3:0=f", "schemata": ["MB:0=30"], "enableMonitoring": true}"#);
        let mut made = fake.begin(&plan).unwrap();
        assert!(made.record().own && !fake.has("web"), "known before it is made");
        made.make_groups(&plan).unwrap();
        fake.fill("web");
        made.configure(&plan).unwrap();
        // A real file has what was written first as well; that of the fake is written over, from its start.
        assert_eq!(fake.text("web/schemata"), "MB:0=30\n");
        fake.put("web/mon_groups/web/tasks", "");
        made.groups().add(77).unwrap();
        assert_eq!((fake.text("web/tasks"), fake.text("web/mon_groups/web/tasks")), ("77".into(), "77".into()));
        let record = made.record().clone();
        made.keep();
        assert!(fake.has("web/mon_groups/web"), "kept");

        fs::remove_dir_all(fake.0.join("web/mon_groups/web")).unwrap();
        fake.empty("web");
        fake.existing(&record).remove().unwrap();
        assert!(!fake.has("web") && fake.has("gold"));
        fake.existing(&record).remove().unwrap();
        assert!(fake.existing(&record).present().unwrap().is_none());
    }

    #[test]
    fn a_failure_leaves_nothing() {
        let fake = Fake::new("failure");
        for text in [r#"{"schemata": ["L3:0=f"]}"#, r#"{"closID": "silver", "schemata": ["L3:0=f"]}"#] {
            let plan = planned(text);
            let mut made = fake.begin(&plan).unwrap();
            fake.put("info/last_cmd_status", "Not a cache domain\n");
            // Nobody has put the file there.
            let error = made.make(&plan).unwrap_err().to_string();
            assert!(error.starts_with("config.json: linux.intelRdt: write \"L3:0=f\" to "), "{error}");
            assert!(error.ends_with("(Not a cache domain)"), "{error}");
            assert!(fake.has(&plan.group));
            drop(made);
            assert!(!fake.has(&plan.group), "{text}");
        }
        let plan = planned(r#"{"closID": "gold", "enableMonitoring": true}"#);
        let mut made = fake.begin(&plan).unwrap();
        made.make(&plan).unwrap();
        assert!(fake.has("gold/mon_groups/web"));
        drop(made);
        assert!(!fake.has("gold/mon_groups/web") && fake.has("gold"), "only what was made");
    }

    #[test]
    fn a_new_group_that_others_have_come_to_stays() {
        let fake = Fake::new("shared");
        let plan = planned(r#"{"closID": "silver", "schemata": ["L3:0=f"]}"#);
        for (tasks, stays) in [("12\n", true), ("", false)] {
            let mut made = fake.begin(&plan).unwrap();
            made.make_groups(&plan).unwrap();
            fake.put("silver/tasks", tasks);
            if tasks.is_empty() {
                fake.empty("silver");
            }
            drop(made);
            assert_eq!(fake.has("silver"), stays, "{tasks:?}");
            drop(fs::remove_dir_all(fake.0.join("silver")));
        }
    }

    #[test]
    fn a_group_that_is_there_is_joined_and_stays() {
        let fake = Fake::new("joined");
        let before = fake.text("gold/schemata");
        for text in [
            r#"{"closID": "gold"}"#,
            r#"{"closID": "gold", "l3CacheSchema": "L3:0=f", "memBwSchema": "MB:0=15", "schemata": ["L3:0=F"]}"#,
        ] {
            let plan = planned(text);
            let mut made = fake.begin(&plan).unwrap();
            made.make(&plan).unwrap();
            made.groups().add(5).unwrap();
            let record = made.record().clone();
            made.keep();
            assert!(!record.own);
            fake.existing(&record).remove().unwrap();
            assert_eq!((fake.text("gold/tasks"), fake.text("gold/schemata")), ("5".to_owned(), before.clone()));
        }
        // As the container is called, but somebody else's.
        fake.fill("web");
        let plan = planned("{}");
        assert!(!fake.begin(&plan).unwrap().record().own);
        // The root is there always.
        let plan = planned(r#"{"closID": "/", "enableMonitoring": true}"#);
        let mut made = fake.begin(&plan).unwrap();
        made.make(&plan).unwrap();
        fake.put("tasks", "");
        fake.put("mon_groups/web/tasks", "");
        made.groups().add(6).unwrap();
        assert_eq!((fake.text("tasks"), fake.text("mon_groups/web/tasks")), ("6".into(), "6".into()));
        fs::remove_file(fake.0.join("mon_groups/web/tasks")).unwrap();
        let record = made.record().clone();
        made.keep();
        fake.existing(&record).remove().unwrap();
        assert!(!fake.has("mon_groups/web") && fake.has("tasks"));
    }

    #[test]
    fn a_group_that_came_meanwhile_is_not_ours() {
        let fake = Fake::new("race");
        let mut made = fake.begin(&planned("{}")).unwrap();
        fake.fill("web");
        let error = made.make(&planned("{}")).unwrap_err().to_string();
        assert!(error.contains("somebody has just made a group"), "{error}");
        drop(made);
        assert!(fake.has("web/tasks"));
    }

    #[test]
    fn refused_before_anything_is_made() {
        let fake = Fake::new("refused");
        let check = |text: &str, says: &str| {
            let error = fake.begin(&planned(text)).unwrap_err().to_string();
            assert!(error.starts_with(&format!("config.json: linux.intelRdt{says}")), "{text}: {error}");
        };
        check(r#"{"closID": "silver"}"#, ".closID: there is no group silver");
        check(
            r#"{"closID": "gold", "schemata": ["L3:0=e"]}"#,
            ": L3:0=e is not what the group gold has, which exists already: MB:0= 20 L3:0=0f",
        );
        fs::remove_dir(fake.0.join("mon_groups")).unwrap();
        check(r#"{"enableMonitoring": true}"#, ".enableMonitoring: this machine has nothing");
        fs::remove_dir_all(fake.0.join("info")).unwrap();
        check(r#"{"l3CacheSchema": "L3:0=f"}"#, ".l3CacheSchema: Intel RDT/CAT is not enabled");
        check(r#"{"memBwSchema": "MB:0=20"}"#, ".memBwSchema: Intel RDT/MBA is not enabled");
        fs::create_dir_all(fake.0.join("info/L3CODE")).unwrap();
        assert!(fake.begin(&planned(r#"{"l3CacheSchema": "L3CODE:0=f"}"#)).is_ok());
        assert!(!fake.has("web"));
    }

    #[test]
    fn updates() {
        let fake = Fake::new("update");
        let record = IntelRdt { group: "gold".to_owned(), own: false, monitor: None };
        // The fake writes over what is there, from its start; so all is of one length.
        let original = "L3:0=0f\n";
        let start = || fake.put("gold/schemata", original);
        start();
        fake.existing(&record).divide(Some("L3:0=03"), None).unwrap().keep();
        assert_eq!(fake.text("gold/schemata"), "L3:0=03\n");
        start();
        let divided = fake.existing(&record).divide(Some("L3:0=01"), None).unwrap();
        assert_eq!(fake.text("gold/schemata"), "L3:0=01\n");
        drop(divided);
        assert_eq!(fake.text("gold/schemata"), original, "written back");
        let refused = |l3_cache, bandwidth| fake.existing(&record).divide(l3_cache, bandwidth).unwrap_err().to_string();
        start();
        assert!(refused(Some("L3:0=3"), Some("3")).starts_with("mem-bw-schema: \"3\" is not a line"));
        fs::remove_dir_all(fake.0.join("info")).unwrap();
        assert_eq!(refused(Some("L3:0=3"), None), "Intel RDT/CAT: l3 cache schema is not enabled");
        assert_eq!(refused(None, Some("MB:0=3")), "Intel RDT/MBA: memory bandwidth schema is not enabled");
        assert_eq!(fake.text("gold/schemata"), original);
    }
}
