// The calls of clients/across.py, by net/http and encoding/json. The argument is the base URL.
package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strings"
)

const key = "sk-upgrades-9z8Y7x6W5v4U3t2S1r0Q9p8O"

type object = map[string]any

var messages = []object{{"role": "user", "content": "Grüße? \U0001F600 </a>"}}

func send(request *http.Request, fields map[string]string) (string, error) {
	request.Header.Set("Authorization", "Bearer "+key)
	for name, value := range fields {
		request.Header.Set(name, value)
	}
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		return "", err
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	if err == nil && answer.StatusCode >= 300 {
		err = fmt.Errorf("%s: %s", answer.Status, body)
	}
	return string(body), err
}

func get(target string) (string, error) {
	request, err := http.NewRequest("GET", os.Args[1]+target, nil)
	if err != nil {
		return "", err
	}
	return send(request, nil)
}

func post(target string, value any, fields map[string]string) (string, error) {
	body, err := json.Marshal(value)
	if err != nil {
		return "", err
	}
	request, err := http.NewRequest("POST", os.Args[1]+target, bytes.NewReader(body))
	if err != nil {
		return "", err
	}
	request.Header.Set("Content-Type", "application/json")
	return send(request, fields)
}

func form(target string, values url.Values) (string, error) {
	request, err := http.NewRequest("POST", os.Args[1]+target, strings.NewReader(values.Encode()))
	if err != nil {
		return "", err
	}
	request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	return send(request, map[string]string{"Stripe-Version": "2020-08-27"})
}

func main() {
	chat := object{"model": "gpt-x", "messages": messages, "temperature": 0.5, "max_tokens": 64}
	stream := object{"model": "gpt-x", "messages": messages, "stream": true}
	message := object{"model": "claude-x", "max_tokens": 64, "messages": messages}
	customer := url.Values{"email": {"a@example.com"}, "metadata[order]": {"6735"},
		"metadata[note]": {"ä b~*"}}
	issue := object{"title": "<a> & b", "labels": []string{"bug", "ü"}, "ratio": 0.25, "number": 2}
	search := url.Values{"sort": {"stars"}, "q": {"a b"}}
	version := map[string]string{"anthropic-version": "2023-06-01"}
	calls := []struct {
		name string
		call func() (string, error)
	}{
		{"openai chat", func() (string, error) { return post("/v1/chat/completions", chat, nil) }},
		{"openai stream", func() (string, error) { return post("/v1/chat/completions", stream, nil) }},
		{"openai models", func() (string, error) { return get("/v1/models") }},
		{"anthropic message", func() (string, error) { return post("/v1/messages", message, version) }},
		{"stripe customer", func() (string, error) { return form("/v1/customers", customer) }},
		{"stripe customers", func() (string, error) { return get("/v1/customers?limit=3") }},
		{"post", func() (string, error) { return post("/repos/octo/cat/issues", issue, nil) }},
		{"get", func() (string, error) { return get("/search/repositories?" + search.Encode()) }},
	}
	for _, each := range calls {
		result, err := each.call()
		if err != nil {
			result = err.Error()
		}
		line, _ := json.Marshal(object{"call": each.name, "failed": err != nil, "result": result})
		fmt.Println(string(line))
	}
}
