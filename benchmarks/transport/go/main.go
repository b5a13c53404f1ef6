// Pushes to APNs on Go's standard library, doing for each push what sideshow/apns2 does: marshal the payload, build a
// request with its headers, send it through net/http, read the answer. The order comes as JSON on standard input, the
// figures go as JSON to standard output.
package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

type order struct {
	Origin  string  `json:"origin"`
	CA      string  `json:"ca"`
	Bearer  string  `json:"bearer"`
	Token   string  `json:"token"`
	Text    string  `json:"text"`
	Streams int     `json:"streams"`
	Seconds float64 `json:"seconds"`
}

type report struct {
	Pushes      int64   `json:"pushes"`
	Seconds     float64 `json:"seconds"`
	CPU         float64 `json:"cpu"`
	RSS         float64 `json:"rss_mb"`
	Connections int64   `json:"connections"`
}

type answer struct {
	StatusCode int
	ID         string
	Reason     string
}

var pushed, connections int64

func main() {
	var o order
	must(json.NewDecoder(os.Stdin).Decode(&o))
	client := dial(o)
	must(push(client, o, 0))
	var group sync.WaitGroup
	stopped := make(chan struct{})
	for n := 0; n < o.Streams; n++ {
		group.Add(1)
		go func(at uint64) {
			defer group.Done()
			for {
				select {
				case <-stopped:
					return
				default:
				}
				must(push(client, o, at))
				at += uint64(o.Streams)
				atomic.AddInt64(&pushed, 1)
			}
		}(uint64(n))
	}
	time.Sleep(time.Second)
	before, cpu, wall := atomic.LoadInt64(&pushed), used().cpu, time.Now()
	time.Sleep(time.Duration(o.Seconds * float64(time.Second)))
	after, usage, seconds := atomic.LoadInt64(&pushed), used(), time.Since(wall).Seconds()
	close(stopped)
	group.Wait()
	must(json.NewEncoder(os.Stdout).Encode(report{
		after - before, seconds, usage.cpu - cpu, usage.rss, atomic.LoadInt64(&connections),
	}))
}

// dial makes a client with the settings of this run: HTTP/2, TLS 1.3, the run's own authority.
func dial(o order) *http.Client {
	pem, err := os.ReadFile(o.CA)
	must(err)
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(pem) {
		must(fmt.Errorf("no certificate in %s", o.CA))
	}
	dialer := &net.Dialer{}
	return &http.Client{Transport: &http.Transport{
		TLSClientConfig:   &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS13},
		ForceAttemptHTTP2: true,
		DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
			atomic.AddInt64(&connections, 1)
			return dialer.DialContext(ctx, network, address)
		},
	}}
}

func push(client *http.Client, o order, n uint64) error {
	payload, err := json.Marshal(map[string]interface{}{
		"aps": map[string]interface{}{"alert": map[string]interface{}{"title": "Flood", "body": o.Text}},
	})
	if err != nil {
		return err
	}
	request, err := http.NewRequest(http.MethodPost, o.Origin+"/3/device/"+o.Token, bytes.NewReader(payload))
	if err != nil {
		return err
	}
	request.Header.Set("Content-Type", "application/json; charset=utf-8")
	request.Header.Set("apns-topic", "com.example.news")
	request.Header.Set("apns-id", fmt.Sprintf("00000000-0000-0007-0000-%012x", n))
	request.Header.Set("apns-collapse-id", "aaaaaaaaaaaah")
	request.Header.Set("apns-priority", strconv.Itoa(10))
	request.Header.Set("apns-push-type", "alert")
	request.Header.Set("apns-expiration", "1800000000")
	request.Header.Set("authorization", "bearer "+o.Bearer)
	response, err := client.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	read := &answer{StatusCode: response.StatusCode, ID: response.Header.Get("apns-id")}
	if err := json.NewDecoder(response.Body).Decode(read); err != nil && err != io.EOF {
		return err
	}
	if read.StatusCode != http.StatusOK {
		return fmt.Errorf("status %d %s", read.StatusCode, read.Reason)
	}
	return nil
}

type usage struct{ cpu, rss float64 }

func used() usage {
	var u syscall.Rusage
	must(syscall.Getrusage(syscall.RUSAGE_SELF, &u))
	seconds := func(t syscall.Timeval) float64 { return float64(t.Sec) + float64(t.Usec)/1e6 }
	return usage{seconds(u.Utime) + seconds(u.Stime), peak()}
}

// peak is Linux's VmHWM in MB; Maxrss also counts the process as it was before exec.
func peak() float64 {
	status, err := os.ReadFile("/proc/self/status")
	must(err)
	for _, line := range strings.Split(string(status), "\n") {
		if words := strings.Fields(line); len(words) == 3 && words[0] == "VmHWM:" {
			kilobytes, err := strconv.ParseFloat(words[1], 64)
			must(err)
			return kilobytes / 1024
		}
	}
	return 0
}

func must(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
