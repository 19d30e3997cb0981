use super::*;

fn parse(text: &str, app: &str, vars: &[(&str, &str)]) -> Result<Application, String> {
    let vars = vars.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
    let reader = Reader { file: "manifest.yml", vars: &vars };
    pick(&reader, text, app).map_err(|error| error.to_string())
}

const FULL: &str = "
defaults: &defaults
  memory: 256M
applications:
- name: shop
  <<: *defaults
  path: src
  command: python3 report.py
  disk_quota: 1G
  cpu: 0.5
  env:
    DEBUG: true
    PORT: 8080
    NOTHING:
    NESTED: {a: [1, x]}
- name: image
  docker:
    image: registry.example/app:1
";

#[test]
fn the_fields_that_apply_are_read() {
    let shop = parse(FULL, "shop", &[]).unwrap();
    let env = [("DEBUG", "true"), ("NESTED", "{\"a\":[1,\"x\"]}"), ("NOTHING", ""), ("PORT", "8080")];
    assert_eq!(
        shop,
        Application {
            name: Some("shop".to_owned()),
            path: Some(PathBuf::from("src")),
            command: Some("python3 report.py".to_owned()),
            memory: Some("256M".to_owned()),
            disk: Some("1G".to_owned()),
            cpu: Some("0.5".to_owned()),
            env: env.map(|(key, value)| (key.to_owned(), value.to_owned())).into(),
            image: None,
            services: Vec::new(),
            task_retention_count: None,
            warnings: vec!["manifest field \"defaults\" is not known, ignored".to_owned()],
        }
    );
    assert_eq!(parse(FULL, "image", &[]).unwrap().image.as_deref(), Some("registry.example/app:1"));
}

#[test]
fn the_only_application_is_taken_whatever_its_name() {
    let app = parse("applications: [{name: other, command: x}]", "shop", &[]).unwrap();
    assert_eq!(app.command.as_deref(), Some("x"));
}

#[test]
fn services_are_named_alone_or_with_what_they_are_called() {
    let text = "applications: [{name: a, services: [db, {name: queue, binding_name: jobs, parameters: {x: 1}}]}]";
    let app = parse(text, "a", &[]).unwrap();
    assert_eq!(app.services, [("db".to_owned(), None), ("queue".to_owned(), Some("jobs".to_owned()))]);
    assert_eq!(app.warnings, ["manifest field \"parameters\" of a service has no effect, ignored"]);
    let line = parse("applications: [{name: a, services: [{binding_name: x}]}]", "a", &[]).unwrap_err();
    assert!(line.ends_with("applications[0].services[0]: expected the `name` of a service"), "{line}");
}

#[test]
fn among_several_the_name_decides() {
    let line = parse(FULL, "none", &[]).unwrap_err();
    assert_eq!(line, "manifest.yml has no application `none`, it has shop, image");
}

#[test]
fn variables_are_filled_in_everywhere() {
    let text = "applications: [{name: ((app)), command: 'run ((mode)) ((1+2))', env: {A: ((v))}}]";
    let app = parse(text, "x", &[("app", "shop"), ("mode", "fast"), ("v", "1")]).unwrap();
    assert_eq!(app.name.as_deref(), Some("shop"));
    assert_eq!(app.command.as_deref(), Some("run fast ((1+2))"));
    assert_eq!(app.env["A"], "1");
}

#[test]
fn a_variable_without_a_value_is_named() {
    let line = parse("applications: [{name: a, memory: ((mem))}]", "a", &[]).unwrap_err();
    assert_eq!(line, "manifest.yml: applications[0].memory: ((mem)) has no value; add --var mem=VALUE");
}

#[test]
fn fields_for_long_running_processes_are_warned_about() {
    let app = parse("applications: [{name: a, routes: [], no-route: true, instances: 2, colour: red}]", "a", &[]);
    assert_eq!(
        app.unwrap().warnings,
        [
            "manifest field \"routes\" does not apply to an App that only runs Tasks, ignored",
            "manifest field \"instances\" does not apply to an App that only runs Tasks, ignored",
            "manifest field \"colour\" is not known, ignored",
        ]
    );
}

#[test]
fn what_cannot_be_read_is_said_with_its_place() {
    let line = parse("applications:\n- name: [a\n- b: c", "a", &[]).unwrap_err();
    assert!(line.starts_with("manifest.yml: ") && line.contains("line "), "{line}");
    for (text, expected) in [
        ("[]", "manifest.yml: the file: expected a mapping with `applications`"),
        ("applications: 3", "manifest.yml: applications: expected a list"),
        ("applications: []", "manifest.yml has no applications"),
        ("applications: [x]", "manifest.yml: applications[0]: expected a mapping"),
        ("applications: [{command: [x]}]", "manifest.yml: applications[0].command: expected a text"),
        ("applications: [{env: x}]", "manifest.yml: applications[0].env: expected a mapping of names to values"),
    ] {
        assert_eq!(parse(text, "a", &[]).unwrap_err(), expected);
    }
}

#[test]
fn a_path_is_relative_to_the_manifest() {
    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join("manifest.yml"), "applications: [{name: a, path: src}]").unwrap();
    let found = beside(directory.path()).unwrap();
    for path in [found.as_path(), directory.path()] {
        let app = read(path, "a", &BTreeMap::new()).unwrap();
        assert_eq!(app.path.unwrap(), directory.path().join("src"));
    }
}

#[test]
fn how_many_tasks_are_kept_is_a_number() {
    let read = |text: &str| parse(&format!("applications: [{{task-retention-count: {text}}}]"), "shop", &[]);
    assert_eq!(read("20").unwrap().task_retention_count, Some(20));
    let line = read("many").unwrap_err();
    assert_eq!(line, "manifest.yml: applications[0].task-retention-count: expected a whole number");
}
