package index

import (
	"fmt"
	"regexp"
	"slices"
	"strings"

	"agentd.dev/recorder"
)

// milestones is a word that a record has every now and then which is no
// statement. FTS5 goes on until something matches, however far that is: since
// milestones match, too, no question takes longer than to the next.
const (
	milestones = "\ue000milestone"
	apart      = 1024 // records between milestones
)

// milestone makes the record one, if it can be and is far enough from the last.
func (u *updating) milestone(p recorder.Position) error {
	if p.Kind == "request" || p.Kind == "prepare" || p.Index < u.marked+apart {
		return nil
	}
	u.marked = p.Index
	_, err := u.addWords.Exec(p.Index, milestones)
	return err
}

// identifier is a word that the lexicon has: numbers and the like are none.
var identifier = regexp.MustCompile(`^\pL{1,40}\pN{0,4}$`)

// What is kept in memory of the lexicon.
const maxLexicon = 1 << 15

// learn adds the words of a text to the lexicon, by which those are found that
// begin in some way.
func (u *updating) learn(text string) error {
	for _, word := range recorder.Words(text) {
		if u.lexicon[word] || !identifier.MatchString(word) {
			continue
		}
		if len(u.lexicon) >= maxLexicon {
			clear(u.lexicon)
		}
		u.lexicon[strings.Clone(word)] = true
		if _, err := u.addWord.Exec(word); err != nil {
			return err
		}
	}
	return nil
}

// maxEndings is how many words may begin as the last of a phrase.
const maxEndings = 64

// phrase is a text as FTS5 is asked for it, "" if there is no word in it.
func (x *Index) phrase(text string) (string, error) {
	words := recorder.Words(text)
	if len(words) == 0 {
		return "", nil
	}
	endings := []string{strings.Join(words, " ")}
	if strings.HasSuffix(strings.TrimSpace(text), "*") {
		last := words[len(words)-1]
		if !identifier.MatchString(last) {
			return `"` + endings[0] + `" *`, nil
		}
		all, err := x.beginning(last)
		if err != nil {
			return "", err
		}
		for _, word := range all {
			endings = append(endings, strings.Join(append(slices.Clone(words[:len(words)-1]), word), " "))
		}
	}
	return `"` + strings.Join(endings, `" OR "`) + `" OR "` + milestones + `"`, nil
}

// beginning are the words of the lexicon that begin so, and go on.
func (x *Index) beginning(so string) (all []string, err error) {
	rows, err := x.stmt("select word from lexicon where word > ? and word < ? limit ?", so, so+"\U0010ffff", maxEndings+1)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	for rows.Next() {
		var word string
		if err := rows.Scan(&word); err != nil {
			return nil, err
		}
		all = append(all, word)
	}
	if len(all) > maxEndings {
		return nil, fmt.Errorf("more than %d words begin with %q: give more of it", maxEndings, so)
	}
	return all, rows.Err()
}

// HasWord reports whether there is something in text to search for.
func HasWord(text string) bool { return len(recorder.Words(text)) > 0 }
