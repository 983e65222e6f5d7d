//! What Go 1.22's text/template prints for the same template and data, with Docker's functions, unless it says
//! otherwise.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::{Shape, Template, Zero};

const SHAPE: Shape = Shape {
    maps: &[("Labels", Zero::Text), ("Networks", Zero::Nil), ("Ports", Zero::List)],
    optional: &[("Range", Zero::Text), ("Labels", Zero::Map)],
};

fn document() -> Value {
    json!({
        "Id": "0123456789abcdef",
        "Name": "web",
        "Empty": "",
        "Pid": 42,
        "Zero": 0,
        "Ratio": 1.5,
        "Running": true,
        "Nothing": null,
        "Args": ["-c", "a b"],
        "None": [],
        "Labels": {"b": "2", "a": "1", "com.example.some-key": "x"},
        "Ports": {"80/tcp": [{"HostIp": "0.0.0.0", "HostPort": "8080"}, {"HostIp": "::", "HostPort": "8080"}]},
        "IPAM": {"Driver": "default", "Config": [{"Subnet": "10.0.0.0/24"}, {"Subnet": "fd00::/64", "Range": "fd00::/80"}]},
        "Networks": {"my-net": {"IPAddress": "10.0.0.2"}, "other": {"IPAddress": "10.0.1.2"}},
    })
}

fn render(source: &str) -> Result<String, String> {
    let template = Template::parse(source).map_err(|error| error.to_string())?;
    template.render(&document(), &SHAPE).map_err(|error| error.to_string())
}

#[track_caller]
fn check(cases: &[(&str, &str)]) {
    for (source, expected) in cases {
        assert_eq!(render(source).as_deref(), Ok(*expected), "{source}");
    }
}

#[track_caller]
fn check_errors(cases: &[(&str, &str)]) {
    for (source, words) in cases {
        let error = render(source).expect_err(source);
        assert!(error.contains(words), "{source}: {error:?} has no {words:?}");
    }
}

#[test]
fn values_are_printed_as_go_prints_them() {
    check(&[
        ("", ""),
        ("plain } text", "plain } text"),
        ("{{.Name}}", "web"),
        ("{{ .Name }}!{{.Pid}}", "web!42"),
        ("{{.Running}} {{.Ratio}}", "true 1.5"),
        ("{{.Args}} {{.None}}", "[-c a b] []"),
        ("{{.Nothing}}", "<nil>"),
        ("{{.Labels}}", "map[a:1 b:2 com.example.some-key:x]"),
        ("{{.IPAM}}", "{default [{10.0.0.0/24} {fd00::/64 fd00::/80}]}"),
        ("{{.Ports}}", "map[80/tcp:[{0.0.0.0 8080} {:: 8080}]]"),
        ("{{(index .IPAM.Config 1).Subnet}}", "fd00::/64"),
        ("{{$.Name}} {{$.IPAM.Driver}}", "web default"),
        (
            "{{\"a\\tb\\x41\\u00e9\\\"\"}} {{`r\\n`}} {{'a'}} {{0x10}} {{-3}} {{.5}}",
            "a\tbAé\" r\\n 97 16 -3 0.5",
        ),
        ("{{true}} {{1_000}}", "true 1000"),
    ]);
}

#[test]
fn a_missing_key_has_no_value_and_a_missing_field_is_an_error() {
    check(&[
        ("{{.Labels.a}} {{.Labels.z}}", "1 <no value>"),
        (
            "{{index .Labels \"z\"}}|{{index .Labels \"com.example.some-key\"}}",
            "|x",
        ),
        ("{{index .Networks \"no\"}} {{index .Ports \"1/tcp\"}}", "<nil> []"),
        ("{{range .IPAM.Config}}[{{.Range}}]{{end}}", "[][fd00::/80]"),
        // As Docker's structures have ID where the JSON has Id.
        ("{{.ID}}", "0123456789abcdef"),
        ("{{if .Labels.z}}x{{else}}y{{end}}", "y"),
        // Beyond Go.
        ("{{.Labels \"a\"}} {{\"b\" | .Labels}} {{index . \"Name\"}}", "1 2 web"),
    ]);
    check_errors(&[
        (
            "{{.Nope}}",
            "line 1, column 3: there is no field \"Nope\"; there are Id, Name,",
        ),
        (
            "a\n b{{.IPAM.Nope}}",
            "line 2, column 10: there is no field \"Nope\"; there are Driver, Config",
        ),
        ("{{.Nothing.A}}", "nothing has no field \"A\""),
        ("{{.Networks.none.IPAddress}}", "nothing has no field \"IPAddress\""),
        ("{{.Name.A}}", "a text has no field \"A\""),
        ("{{index . \"Nope\"}}", "there is no field \"Nope\""),
    ]);
}

#[test]
fn branches() {
    check(&[
        ("{{if .Name}}a{{end}}{{if .Empty}}b{{end}}", "a"),
        (
            "{{if .Empty}}a{{else if .Zero}}b{{else if .None}}c{{else}}d{{end}}",
            "d",
        ),
        ("{{if .Empty}}a{{else if .Pid}}b{{else}}d{{end}}", "b"),
        ("{{if not .Running}}a{{else}}b{{end}}", "b"),
        ("{{with .IPAM}}{{.Driver}} {{$.Name}}{{end}}", "default web"),
        ("{{with .Empty}}x{{else with .Name}}{{.}}{{end}}", "web"),
        ("{{with .Empty}}x{{else}}{{.Name}}{{end}}", "web"),
        ("{{if and .Name (gt .Pid 40)}}yes{{end}}", "yes"),
        ("{{if $x := .Pid}}{{$x}}{{end}}", "42"),
        ("{{with $x := .Args}}{{len $x}}{{end}}", "2"),
    ]);
}

#[test]
fn ranges() {
    check(&[
        ("{{range .Args}}<{{.}}>{{end}}", "<-c><a b>"),
        (
            "{{range $i, $v := .Args}}{{if $i}},{{end}}{{$i}}={{$v}}{{end}}",
            "0=-c,1=a b",
        ),
        ("{{range $v := .Args}}{{$v}};{{end}}", "-c;a b;"),
        (
            "{{range $k, $v := .Networks}}{{$k}}={{$v.IPAddress}} {{end}}",
            "my-net=10.0.0.2 other=10.0.1.2 ",
        ),
        (
            "{{range .None}}x{{else}}none{{end}}{{range .Nothing}}x{{else}}!{{end}}",
            "none!",
        ),
        ("{{range .IPAM.Config}}{{.Subnet}} {{end}}", "10.0.0.0/24 fd00::/64 "),
        (
            "{{range $p, $b := .Ports}}{{$p}} {{(index $b 0).HostPort}}{{end}}",
            "80/tcp 8080",
        ),
        ("{{range .Args}}{{range $.Args}}{{.}}{{end}};{{end}}", "-ca b;-ca b;"),
        (
            "{{range .Args}}{{break}}x{{end}}{{range .Args}}a{{continue}}b{{end}}",
            "aa",
        ),
        (
            "{{range $i, $v := .Args}}{{if eq $i 1}}{{break}}{{end}}{{$v}}{{end}}",
            "-c",
        ),
        ("{{$n := 0}}{{range $i, $_ := .Args}}{{$n = $i}}{{end}}{{$n}}", "1"),
        ("{{$x := 1}}{{if true}}{{$x := 2}}{{$x}}{{end}}{{$x}}", "21"),
    ]);
    check_errors(&[
        ("{{range .Name}}x{{end}}", "range cannot go through a text"),
        ("{{range .Pid}}x{{end}}", "range cannot go through a number"),
    ]);
}

#[test]
fn blanks_are_trimmed_and_comments_left_out() {
    check(&[
        ("a  {{- .Name -}}  b", "awebb"),
        ("a\n{{- /* no */ -}}\nb", "ab"),
        ("a {{/* no\nmore */}} b", "a  b"),
        ("{{- 3}} {{3 -}} x", "3 3x"),
        ("{{-3}}", "-3"),
        ("{{\n.Name\n}}", "web"),
    ]);
}

#[test]
fn functions() {
    check(&[
        (
            "{{json .Args}} {{json .Name}} {{json .Nothing}}",
            "[\"-c\",\"a b\"] \"web\" null",
        ),
        (
            "{{json .IPAM.Config}}",
            "[{\"Subnet\":\"10.0.0.0/24\"},{\"Subnet\":\"fd00::/64\",\"Range\":\"fd00::/80\"}]",
        ),
        ("{{.IPAM.Driver | json}}", "\"default\""),
        ("{{json \"<&>\"}}", "\"<&>\""),
        (
            "{{join .Args \",\"}}|{{join .None \",\"}}|{{join .Nothing \",\"}}",
            "-c,a b||",
        ),
        (
            "{{split \"a,b,c\" \",\"}} {{index (split .Name \"\") 1}} {{len (split \"\" \",\")}}",
            "[a b c] e 1",
        ),
        (
            "{{upper .Name}} {{lower \"ABC\"}} {{title \"hello wORLD_x don't\"}}",
            "WEB abc Hello WORLD_x Don'T",
        ),
        ("[{{pad .Name 1 2}}] [{{pad \"\" 3 3}}]", "[ web  ] []"),
        (
            "{{truncate .Id 4}} {{truncate .Name 9}} {{truncate \"aé\" 2}}",
            "0123 web a",
        ),
        (
            "{{len .Name}} {{len .Args}} {{len .Labels}} {{len .Nothing}}",
            "3 2 3 0",
        ),
        (
            "{{index .Args 0}} {{index .Ports \"80/tcp\" 1}} {{index .Name 0}} {{index .Name}}",
            "-c {:: 8080} 119 web",
        ),
        (
            "{{slice .Id 0 4}} {{slice .Args 1}} {{slice .Name 1 2}}",
            "0123 [a b] e",
        ),
        (
            "{{print 1 2 \"a\" \"b\" 3 4}}|{{println .Name 1}}|{{println}}",
            "1 2ab3 4|web 1\n|\n",
        ),
        (
            "{{and 1 0 2}} {{and 1 2}} {{or 0 \"\" 3}} {{or 0 \"\"}}| {{not 0}}",
            "0 2 3 | true",
        ),
        // The second argument is not looked at.
        ("{{or true .Nope}} {{and false (index .Args 9)}}", "true false"),
        (
            "{{eq .Name \"web\"}} {{eq .Pid 1 42}} {{ne .Name \"x\"}} {{eq .Nothing nil}}",
            "true true true true",
        ),
        (
            "{{lt 1 2}} {{le 2 2}} {{gt \"b\" \"a\"}} {{ge 1 2}} {{lt 1 1.5}}",
            "true true true false true",
        ),
        ("{{.Name | printf \"%s-%s\" \"x\" | upper}}", "X-WEB"),
        ("{{(printf \"%d\" .Pid) | len}}", "2"),
    ]);
    check_errors(&[
        (
            "{{nope .Name}}",
            "column 3: function \"nope\" is not defined; there are and, or",
        ),
        ("{{len 3}}", "len: a number has no length"),
        ("{{len}}", "len: wants 1 arguments, and has 0"),
        ("{{split .Name}}", "split: wants 2 arguments, and has 1"),
        ("{{slice .Name 1 2 3}}", "slice: wants 1 to 3 arguments, and has 4"),
        (
            "{{index .Args 2}}",
            "index: index 2 is out of range: there are 2 elements",
        ),
        ("{{index .Args -1}}", "out of range"),
        ("{{index .Args \"a\"}}", "a list cannot be indexed with a text"),
        ("{{index .Nothing 1}}", "nothing cannot be indexed"),
        ("{{eq .Name 1}}", "a text and a number cannot be compared"),
        ("{{eq .Args .Args}}", "a list cannot be compared"),
        ("{{lt true false}}", "no order"),
        ("{{upper .Pid}}", "upper: wants a text, and has a number"),
        ("{{pad .Name 9999999999 0}}", "wants a number from 0"),
        ("{{slice .Id 4 2}}", "cannot cut from 4 to 2"),
        ("{{join .Name \",\"}}", "join: wants a list"),
    ]);
}

#[test]
fn printf_is_gos() {
    check(&[
        (
            "{{printf \"%s %d %v %q %t%%\" .Name .Pid .Args \"a\\\"b\\n\" .Running}}",
            "web 42 [-c a b] \"a\\\"b\\n\" true%",
        ),
        (
            "[{{printf \"%5s|%-5s|%05d|%+d|%.2s|%x|%X\" .Name .Name .Pid .Pid .Name .Pid \"az\"}}]",
            "[  web|web  |00042|+42|we|2a|617A]",
        ),
        (
            "{{printf \"%q\" .Args}} {{printf \"%.2f\" .Ratio}} {{printf \"%06d\" -42}}",
            "[\"-c\" \"a b\"] 1.50 -00042",
        ),
        (
            "{{printf \"%d\" .Name}} {{printf \"%s\"}} {{printf \"x\" 1 \"y\"}}",
            "%!d(string=web) %!s(MISSING) x%!(EXTRA int=1, string=y)",
        ),
        (
            "{{printf \"%s\" .Pid}} {{printf \"%\"}} {{printf \"%z\" 1}} {{printf \"%v\" nil}}",
            "%!s(int=42) %!(NOVERB) %!z(int=1) <nil>",
        ),
        ("{{printf \"%v\" .Labels}}", "map[a:1 b:2 com.example.some-key:x]"),
        ("{{len (printf \"%99999999999999999999d\" 1)}}", "1000000"),
    ]);
}

#[test]
fn what_is_no_template_is_said_with_its_place() {
    check_errors(&[
        ("ab {{.Name", "line 1, column 4: {{ has no }}"),
        ("{{}}", "a value is missing"),
        ("{{.Name | }}", "a value is missing"),
        ("{{if .Name}}x", "line 1, column 1: {{if}} has no {{end}}"),
        ("{{range .Args}}x{{else}}", "{{range}} has no {{end}}"),
        ("{{end}}", "{{end}} closes nothing"),
        ("{{else}}", "{{else}} without"),
        ("{{if 1}}{{else}}{{else}}{{end}}", "a second {{else}}"),
        ("{{if}}{{end}}", "a value is missing"),
        (
            "{{.my-net}}",
            "column 6: unexpected character '-'; a key that is no plain word is given to index",
        ),
        ("{{.my/net}}", "unexpected character '/'"),
        ("{{$x}}", "undefined variable \"$x\""),
        ("{{$x = 1}}", "undefined variable \"$x\""),
        ("{{if true}}{{$x := 1}}{{end}}{{$x}}", "undefined variable"),
        ("{{$a, $b := .Args}}", "only range declares two"),
        ("{{\"abc}}", "has no end"),
        ("{{\"\\y\"}}", "unknown escape \\y"),
        ("{{`abc}}", "has no end"),
        ("{{'ab'}}", "one character"),
        ("{{/* abc}}", "the comment has no end"),
        ("{{/* abc */ x}}", "the comment must end"),
        ("{{(.Name}}", "( has no )"),
        ("{{.Name)}}", "unexpected closing bracket"),
        ("{{3 4}}", "only a function takes arguments"),
        ("{{.Name 4}}", "a text takes no arguments"),
        ("{{.Name | 3}}", "cannot be passed on"),
        ("{{break}}", "outside {{range}}"),
        ("{{template \"x\"}}", "not supported"),
        ("{{end x}}", "nothing may stand here"),
        ("{{1x}}", "\"1x\" is no number"),
        ("é{{.Nope}}", "line 1, column 4:"),
    ]);
}

#[test]
fn nesting_has_an_end() {
    let nested = |depth: usize| "{{if true}}".repeat(depth) + "x" + &"{{end}}".repeat(depth);
    assert_eq!(render(&nested(100)).as_deref(), Ok("x"));
    assert!(render(&nested(101)).unwrap_err().contains("too deeply"));
    let brackets = |depth: usize| format!("{{{{{}1{}}}}}", "(".repeat(depth), ")".repeat(depth));
    assert_eq!(render(&brackets(100)).as_deref(), Ok("1"));
    assert!(render(&brackets(100_000)).unwrap_err().contains("too deeply"));
    // These are not nested, however many they are.
    assert_eq!(
        render(&format!("{{{{1{}}}}}", " | print".repeat(10_000))).as_deref(),
        Ok("1")
    );
    let chain = format!("{{{{if false}}}}{}{{{{end}}}}", "{{else if false}}".repeat(10_000));
    assert_eq!(render(&chain).as_deref(), Ok(""));
}

#[test]
fn headings_pass_through_functions() {
    let headings = json!({"Name": "NAME", "Label": ""});
    for (source, expected) in [
        ("{{.Name}}", "NAME"),
        (
            "{{json .Name}} {{.Name | lower}} {{truncate .Name 1}}",
            "NAME NAME NAME",
        ),
        ("[{{pad .Name 1 1}}]", "[ NAME ]"),
        ("{{.Label \"com.example.some-key\"}}", "some key"),
    ] {
        let template = Template::parse(source).unwrap();
        assert_eq!(
            template.render_heading(&headings, &SHAPE).as_deref(),
            Ok(expected),
            "{source}"
        );
    }
}

proptest! {
    #[test]
    fn no_text_panics(text in "\\PC*") {
        let _ = render(&text);
    }

    /// Made of what templates are made of, so that more of them are understood.
    #[test]
    fn no_template_panics(words in prop::collection::vec(prop::sample::select(vec![
        "{{", "}}", "{{-", "-}}", " ", "-", ".", ".Name", ".Args", ".Labels", ".Nothing", "$", "$x", ":=", "=", ",", "|", "(", ")",
        "if ", "else ", "end", "range ", "with ", "break", "continue", "index ", "printf ", "len ", "slice ", "json ", "eq ",
        "truncate ", "pad ", "title ", "and ", "nil", "\"%5.1s%q%d\"", "\"é\"", "`a`", "'c'", "0", "-1", "1.5", "9999999999999999999", "/*",
        "*/", "x", "é", "\n", "{{end}}", "{{if .Name}}", "{{range $i, $v := .Args}}", "{{$v}}",
    ]), 0..40)) {
        let _ = render(&words.concat());
    }
}
