package main

import (
	"bufio"
	"context"
	"crypto/sha1"
	"encoding/base64"
	"encoding/binary"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/streamforge/streamforge/services/internal/kafka"
)

// BenchmarkSocketToBuffer is everything of the loader but the Kafka client: WebSocket, inspection, envelope, publisher.
func BenchmarkSocketToBuffer(b *testing.B) {
	m := newMemoryKafka()
	benchmark(b, Deps{Registry: &memoryRegistry{}, Admin: m, Consumer: m.consumer, Producer: func(c kafka.ProducerConfig) (Producer, error) {
		return nullProducer{c.OnDelivery}, nil
	}})
}

// BenchmarkLoaderToKafka is the whole way: WebSocket to acknowledged in a broker (the embedded one, in this process).
func BenchmarkLoaderToKafka(b *testing.B) {
	s := newStack(b)
	admin, err := kafka.NewAdmin(s.client())
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(admin.Close)
	log, metrics := slog.New(slog.DiscardHandler), prometheus.NewRegistry()
	benchmark(b, Deps{
		Registry: &memoryRegistry{}, Admin: admin,
		Consumer: func(c kafka.ConsumerConfig) (Consumer, error) { return kafka.NewConsumer(s.client(), c, log, metrics) },
		Producer: func(c kafka.ProducerConfig) (Producer, error) { return kafka.NewProducer(s.client(), c, log, metrics) },
	})
}

// benchmark plays b.N frames of 300 B over one connection and waits until all are acknowledged.
func benchmark(b *testing.B, deps Deps) {
	frame := trade("BTCUSDT", 1)
	frame += strings.Repeat(" ", 300-len(frame))
	known, err := adapters()
	if err != nil {
		b.Fatal(err)
	}
	config := FeedConfig{Name: "f0", Venue: "binance", Symbols: []string{"BTC-USDT"}, Replay: true, WebSocket: serveFrames(b, frame, b.N)}
	feed, err := config.resolve(known)
	if err != nil {
		b.Fatal(err)
	}
	deps.Log, deps.Registerer = slog.New(slog.DiscardHandler), prometheus.NewRegistry()
	l, err := New(Config{Feeds: []Feed{feed}, BufferBytes: 64 << 20, QueueBytes: 32 << 20, DrainTimeout: time.Minute, ProducerName: "loader@bench"}, deps)
	if err != nil {
		b.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	b.SetBytes(300)
	b.ReportAllocs()
	b.ResetTimer()
	before := cpu(b)
	go func() { ended <- l.Run(ctx) }()
	for k := l.links[0]; ; time.Sleep(time.Millisecond) {
		k.mu.Lock()
		over := k.ended
		k.mu.Unlock()
		if over {
			break
		}
	}
	cancel()
	if err := <-ended; err != nil {
		b.Fatal(err)
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "frames/s")
	b.ReportMetric(float64((cpu(b)-before).Nanoseconds())/float64(b.N), "cpu-ns/frame")
}

func cpu(b *testing.B) time.Duration {
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		b.Fatal(err)
	}
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}

// serveFrames speaks just enough WebSocket to send n frames as fast as the other end takes them, at next to no cost.
func serveFrames(b *testing.B, frame string, n int) string {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { listener.Close() })
	go func() {
		conn, err := listener.Accept()
		if err != nil {
			return
		}
		defer conn.Close()
		r := bufio.NewReader(conn)
		request, err := http.ReadRequest(r)
		if err != nil {
			return
		}
		sum := sha1.Sum([]byte(request.Header.Get("Sec-WebSocket-Key") + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"))
		io.WriteString(conn, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: "+
			base64.StdEncoding.EncodeToString(sum[:])+"\r\n\r\n")
		const batch = 500
		one := append(binary.BigEndian.AppendUint16([]byte{0x81, 126}, uint16(len(frame))), frame...)
		var many []byte
		for range batch {
			many = append(many, one...)
		}
		for left := n; left > 0; left -= batch {
			if _, err := conn.Write(many[:min(left, batch)*len(one)]); err != nil {
				return
			}
		}
		conn.Write([]byte{0x88, 2, 0x03, 0xe8}) // a normal close
		io.Copy(io.Discard, r)
	}()
	return "ws://" + listener.Addr().String()
}
