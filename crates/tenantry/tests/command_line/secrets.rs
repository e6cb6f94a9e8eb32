//! `secrets`: keys of a real installation, from a file, from the environment, and from AWS Secrets Manager as `moto` has it.

use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use reqwest::Client;
use serde_json::{Value, json};

use super::Ran;
use super::installation::Installation;

/// A server that is killed at the end, whatever the test came to.
struct Killed(Child);

impl Drop for Killed {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

struct Served {
    _process: Killed,
    base: String,
}

impl Served {
    fn start(installation: &Installation, args: &[&str]) -> Self {
        use std::io::{BufRead as _, BufReader};
        let mut command = installation.command(&["serve", "--listen", "127.0.0.1:0"]);
        let mut process = Killed(command.args(args).stderr(Stdio::piped()).spawn().unwrap());
        let mut lines = BufReader::new(process.0.stderr.take().unwrap()).lines();
        let line = lines.find(|line| line.as_ref().unwrap().contains("serving on")).unwrap().unwrap();
        // What it says later must not fill the pipe.
        std::thread::spawn(move || lines.for_each(drop));
        let base = line.split_whitespace().find(|word| word.starts_with("http://")).unwrap();
        let base = base.trim_end_matches(',').to_owned();
        Self { _process: process, base }
    }

    async fn account(&self, key: &str) -> u16 {
        let body = json!({ "provider": "openai", "access_token": "sk-0123456789abcdef" });
        let request = Client::new().post(format!("{}/v1/provider-accounts", self.base)).header("x-api-key", key);
        request.json(&body).send().await.unwrap().status().as_u16()
    }
}

fn tenant(installation: &Installation, slug: &str) -> String {
    let made = installation.run(&["-o", "json", "tenant", "create", slug, "--admin-email", "a@b.example"]).ok().json();
    made["key"]["token"].as_str().unwrap().to_owned()
}

/// Appends a new key to a file, as the guide says.
fn append(installation: &Installation, file: &str, id: &str) -> PathBuf {
    let path = installation.directory.path().join(file);
    let line = installation.run(&["secrets", "new-key", "--id", id]).ok().stdout;
    let text = std::fs::read_to_string(&path).unwrap_or_default();
    std::fs::write(&path, format!("{text}{line}")).unwrap();
    path
}

fn status(installation: &Installation, args: &[&str]) -> Value {
    installation.run(&[&["-o", "json", "secrets", "status"], args].concat()).ok().json()
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_are_rotated_beside_a_running_server() {
    let installation = Installation::prepared().await;
    let (acme, globex) = (tenant(&installation, "acme"), tenant(&installation, "globex"));
    installation.run(&["secrets", "status"]).fails(2, "no master key is configured");
    installation.run(&["secrets", "new-key", "--id", "No Name"]).fails(2, "cannot be the id");
    append(&installation, "keys", "2026-01");
    let keys = ["--master-key-file", "keys"];
    let served = Served::start(&installation, &keys);
    assert_eq!(served.account(&acme).await, 201);
    let before = status(&installation, &keys);
    assert_eq!((&before["current_master_key"], &before["to_rewrap"]), (&json!("2026-01"), &json!(0)));

    append(&installation, "keys", "2026-06");
    assert_eq!(status(&installation, &keys)["to_rewrap"], 1);
    let rotate = installation.run(&[&["-o", "json", "secrets", "rotate", "--tenant", "acme"], &keys[..]].concat());
    assert_eq!(rotate.ok().json()["rewrapped"], 1);
    assert_eq!(status(&installation, &keys)["master_keys"][0]["master_key_id"], "2026-06");
    // The server goes on, with the new key for whoever comes new.
    assert_eq!((served.account(&acme).await, served.account(&globex).await), (201, 201));

    let rotate = ["-o", "json", "secrets", "rotate", "--data-keys"];
    let done = installation.run(&[&rotate[..], &keys].concat()).ok().json();
    assert_eq!((&done["rotated"], &done["resealed"], &done["failed"]), (&json!(2), &json!(3), &json!(0)));
    // An interrupted run that is continued leaves alone what it has done.
    let continued = [&rotate[..], &keys, &["--created-before", done["created_before"].as_str().unwrap()]].concat();
    let continued = installation.run(&continued).ok().json();
    assert_eq!((&continued["rotated"], &continued["resealed"]), (&json!(0), &json!(0)));
    assert_eq!(served.account(&acme).await, 201);
    drop(served);
    // The old master key is not needed any more; a server without the new one does not read, and says why.
    let text = std::fs::read_to_string(installation.directory.path().join("keys")).unwrap();
    std::fs::write(installation.directory.path().join("keys"), text.lines().nth(1).unwrap()).unwrap();
    let one = installation
        .run(&[&["-o", "json", "secrets", "rotate", "--data-keys", "--tenant", "globex"], &keys[..]].concat());
    assert_eq!(one.ok().json()["rotated"], 1);
    append(&installation, "others", "2030-01");
    let lost = installation.run(&["secrets", "rotate", "--master-key-file", "others"]);
    assert!(lost.stderr.contains("master key `2026-06` is not known here"), "{}", lost.stderr);
    lost.fails(7, "stay under the key that they had");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rotation_that_is_killed_is_finished_by_the_next() {
    let installation = Installation::prepared().await;
    append(&installation, "keys", "one");
    let served = Served::start(&installation, &["--master-key-file", "keys"]);
    for n in 0..12 {
        assert_eq!(served.account(&tenant(&installation, &format!("company-{n}"))).await, 201);
    }
    append(&installation, "keys", "two");
    // Killed at whatever point each of these has reached.
    for delay in [40, 80, 160, 240, 360, 500] {
        for kind in ["--master", "--data-keys"] {
            let mut command = installation.command(&["secrets", "rotate", kind, "--master-key-file", "keys"]);
            let mut killed = Killed(command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap());
            tokio::time::sleep(Duration::from_millis(delay)).await;
            killed.0.kill().unwrap();
        }
    }
    installation.run(&["secrets", "rotate", "--master", "--data-keys", "--master-key-file", "keys"]).ok();
    let status = status(&installation, &["--master-key-file", "keys"]);
    assert_eq!((&status["to_rewrap"], &status["master_keys"][0]["master_key_id"]), (&json!(0), &json!("two")));
    // Everything opens: sealing it anew opens it.
    let again = installation.run(&["-o", "json", "secrets", "rotate", "--data-keys", "--master-key-file", "keys"]);
    let again = again.ok().json();
    assert_eq!((&again["rotated"], &again["resealed"], &again["failed"]), (&json!(12), &json!(12), &json!(0)));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_doctor_looks_for_a_master_key() {
    let installation = Installation::prepared().await;
    let find = |ran: Ran| {
        let findings = ran.json();
        findings.as_array().unwrap().iter().find(|finding| finding["check"] == "secrets.master_key").unwrap().clone()
    };
    let without = find(installation.run(&["-o", "json", "doctor"]));
    assert_eq!(without["severity"], "warn");
    assert!(without["mend"].as_str().unwrap().contains("secrets new-key"), "{without}");
    let keys = append(&installation, "keys", "one");
    let ok =
        |installation: &Installation| find(installation.run(&["-o", "json", "doctor", "--master-key-file", "keys"]));
    use std::os::unix::fs::PermissionsExt as _;
    std::fs::set_permissions(&keys, std::fs::Permissions::from_mode(0o644)).unwrap();
    assert_eq!(ok(&installation)["severity"], "warn", "a file for everybody is no secret");
    std::fs::set_permissions(&keys, std::fs::Permissions::from_mode(0o600)).unwrap();
    assert_eq!(ok(&installation)["severity"], "ok");
    let mut command = installation.command(&["-o", "json", "doctor"]);
    let line = std::fs::read_to_string(&keys).unwrap();
    let ran = Ran::of(&command.env("TENANTRY_MASTER_KEYS", line).output().unwrap());
    assert_eq!(find(ran)["severity"], "ok");
}

// --- AWS ------------------------------------------------------------------------------------------------------------

const REGION: &str = "eu-central-1";

/// `moto`, which answers as AWS does and, once told to, checks every signature as AWS does.
struct Aws {
    _process: Killed,
    base: String,
    http: Client,
}

impl Aws {
    async fn start() -> Self {
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let root = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../..");
        // As `scripts/setup` has left it, or the one that the system has.
        let own = root.join("target/moto/bin/python");
        let python = if own.exists() { own } else { PathBuf::from("python3") };
        let mut command = Command::new(python);
        command.args(["-m", "moto.server", "-H", "127.0.0.1", "-p", &port.to_string()]);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let process = Killed(command.spawn().expect("moto is there: scripts/setup test"));
        let aws = Self { _process: process, base: format!("http://127.0.0.1:{port}/"), http: Client::new() };
        for _ in 0..600 {
            if aws.http.get(format!("{}moto-api/data.json", aws.base)).send().await.is_ok() {
                return aws;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("moto does not start: `scripts/setup test` installs it");
    }

    fn request(&self, service: &str) -> reqwest::RequestBuilder {
        let scope = format!(
            "AWS4-HMAC-SHA256 Credential=mock/20260101/{REGION}/{service}/aws4_request, SignedHeaders=host, Signature=0"
        );
        self.http.post(&self.base).header("authorization", scope)
    }

    async fn secrets_manager(&self, action: &str, body: Value) {
        let request = self.request("secretsmanager").header("x-amz-target", format!("secretsmanager.{action}"));
        let answer = request.header("content-type", "application/x-amz-json-1.1").body(body.to_string()).send().await;
        let answer = answer.unwrap();
        assert!(answer.status().is_success(), "{}", answer.text().await.unwrap());
    }

    /// One of the identity service's actions; gives the answer's text.
    async fn iam(&self, form: &str) -> String {
        let request = self.request("iam").header("content-type", "application/x-www-form-urlencoded");
        let answer = request.body(format!("{form}&Version=2010-05-08")).send().await.unwrap();
        assert!(answer.status().is_success());
        answer.text().await.unwrap()
    }
}

fn element<'a>(xml: &'a str, name: &str) -> &'a str {
    let (_, rest) = xml.split_once(&format!("<{name}>")).unwrap_or_else(|| panic!("no {name} in {xml}"));
    rest.split_once('<').unwrap().0
}

#[tokio::test(flavor = "multi_thread")]
async fn master_keys_are_kept_by_aws_secrets_manager() {
    let aws = Aws::start().await;
    let installation = Installation::prepared().await;
    let acme = tenant(&installation, "acme");
    let file = append(&installation, "keys", "one");
    let text = std::fs::read_to_string(&file).unwrap();
    aws.secrets_manager("CreateSecret", json!({ "Name": "tenantry/master", "SecretString": text })).await;
    aws.iam("Action=CreateUser&UserName=tenantry").await;
    let policy = json!({ "Version": "2012-10-17", "Statement": [
        { "Effect": "Allow", "Action": "secretsmanager:GetSecretValue", "Resource": "*" }
    ] });
    let form = reqwest::Url::parse_with_params("http://x/", [("PolicyDocument", policy.to_string())]).unwrap();
    let form = format!("Action=PutUserPolicy&UserName=tenantry&PolicyName=read&{}", form.query().unwrap());
    aws.iam(&form).await;
    let keys = aws.iam("Action=CreateAccessKey&UserName=tenantry").await;
    let (id, secret) = (element(&keys, "AccessKeyId"), element(&keys, "SecretAccessKey").replace("&#43;", "+"));
    // From here every request needs a good signature of a user who may.
    aws.http.post(format!("{}moto-api/reset-auth", aws.base)).body("0").send().await.unwrap();

    let settings = format!(
        "[secrets]\nsource = \"aws\"\n[secrets.aws]\nsecret_id = \"tenantry/master\"\nregion = \"{REGION}\"\nendpoint = \"{}\"\n",
        aws.base
    );
    std::fs::write(installation.directory.path().join("tenantry.toml"), settings).unwrap();
    let run = |secret: &str, args: &[&str]| {
        let mut command = installation.command(args);
        command.env("AWS_ACCESS_KEY_ID", id).env("AWS_SECRET_ACCESS_KEY", secret).env_remove("AWS_SESSION_TOKEN");
        Ran::of(&command.output().unwrap())
    };
    let status = run(&secret, &["-o", "json", "secrets", "status"]).ok().json();
    assert_eq!(status["current_master_key"], "one");
    // The negative control: a signature by another secret is refused, so a good one is what opens.
    run("another-secret", &["secrets", "status"]).fails(1, "403 Forbidden");

    // Made under the file's key, wrapped anew under the secret's next one.
    let served = Served::start(&installation, &["--master-key-file", "keys", "--config", "/dev/null"]);
    assert_eq!(served.account(&acme).await, 201);
    drop(served);
    aws.http.post(format!("{}moto-api/reset-auth", aws.base)).body("1000000").send().await.unwrap();
    append(&installation, "keys", "two");
    let text = std::fs::read_to_string(&file).unwrap();
    aws.secrets_manager("PutSecretValue", json!({ "SecretId": "tenantry/master", "SecretString": text })).await;
    let rotated = run(&secret, &["-o", "json", "secrets", "rotate"]).ok().json();
    assert_eq!((&rotated["rewrapped"], &rotated["master_key_id"]), (&json!(1), &json!("two")));
}
