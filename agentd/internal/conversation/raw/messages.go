package main

import (
	"encoding/binary"
	"slices"
)

// message frames a payload.
func message(kind byte, payload []byte) []byte {
	return append(binary.BigEndian.AppendUint32([]byte{kind}, uint32(len(payload)+4)), payload...)
}

// startup frames one of the messages that have no type byte.
func startup(code uint32, payload []byte) []byte {
	b := binary.BigEndian.AppendUint32(nil, uint32(len(payload)+8))
	return append(binary.BigEndian.AppendUint32(b, code), payload...)
}

func query(sql string) []byte { return message('Q', []byte(sql+"\x00")) }

func parse(name, sql string, types ...uint32) []byte {
	b := binary.BigEndian.AppendUint16([]byte(name+"\x00"+sql+"\x00"), uint16(len(types)))
	for _, oid := range types {
		b = binary.BigEndian.AppendUint32(b, oid)
	}
	return message('P', b)
}

// bind binds arguments in text; nil is NULL. Results come in the formats given.
func bind(portal, statement string, arguments []any, formats ...uint16) []byte {
	b := []byte(portal + "\x00" + statement + "\x00\x00\x00")
	b = binary.BigEndian.AppendUint16(b, uint16(len(arguments)))
	for _, a := range arguments {
		text, ok := a.(string)
		if !ok {
			b = append(b, 0xff, 0xff, 0xff, 0xff)
			continue
		}
		b = append(binary.BigEndian.AppendUint32(b, uint32(len(text))), text...)
	}
	b = binary.BigEndian.AppendUint16(b, uint16(len(formats)))
	for _, f := range formats {
		b = binary.BigEndian.AppendUint16(b, f)
	}
	return message('B', b)
}

func describe(kind byte, name string) []byte { return message('D', []byte(string(kind)+name+"\x00")) }

func closing(kind byte, name string) []byte { return message('C', []byte(string(kind)+name+"\x00")) }

func execute(portal string, rows uint32) []byte {
	return message('E', binary.BigEndian.AppendUint32([]byte(portal+"\x00"), rows))
}

// call is a FunctionCall with arguments and result in text.
func call(oid uint32, arguments ...string) []byte {
	b := binary.BigEndian.AppendUint32(nil, oid)
	b = append(b, 0, 0)
	b = binary.BigEndian.AppendUint16(b, uint16(len(arguments)))
	for _, a := range arguments {
		b = append(binary.BigEndian.AppendUint32(b, uint32(len(a))), a...)
	}
	return message('F', append(b, 0, 0))
}

func copyData(text string) []byte { return message('d', []byte(text)) }

var (
	sync      = message('S', nil)
	flush     = message('H', nil)
	copyDone  = message('c', nil)
	terminate = message('X', nil)
)

func join(messages ...[]byte) []byte { return slices.Concat(messages...) }
