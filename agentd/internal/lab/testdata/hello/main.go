// Command hello is what the test of Binary builds.
package main

import "fmt"

func main() { fmt.Println("hello") }
